# shellcheck shell=bash
# Functions that find the server programs. To be sourced. The places and their order are the same as
# in src/embedded/programs.rs.

# Prints the folder that `make tools` fills. For root it is not in the home directory: PostgreSQL
# runs as another user then, who cannot read that.
tools_dir() {
    if [ -n "${ORDERS_TOOLS_DIR:-}" ]; then
        echo "$ORDERS_TOOLS_DIR"
    elif [ "$(id -u)" = 0 ]; then
        echo /var/cache/orders/tools
    elif [ -n "${XDG_CACHE_HOME:-}" ]; then
        echo "$XDG_CACHE_HOME/orders/tools"
    elif [ "$(uname)" = Darwin ]; then
        echo "$HOME/Library/Caches/orders/tools"
    else
        echo "$HOME/.cache/orders/tools"
    fi
}

# at_least MAJOR.MINOR PROGRAM: succeeds if the program runs and has at least that version.
at_least() {
    local found
    found=$("$2" --version 2>/dev/null | grep -Eo '[0-9]+(\.[0-9]+)?' | head -n 1) || return 1
    [ "$(printf '%s\n%s\n' "$1" "$found" | sort -V | head -n 1)" = "$1" ]
}

# Prints the directory with PostgreSQL's programs, or fails.
postgres_bin() {
    local on_path candidate
    on_path=$(command -v postgres || true)
    for candidate in \
        "${ORDERS_POSTGRES_BIN:-}" \
        "${on_path:+$(dirname "$(realpath "$on_path")")}" \
        $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV) \
        $(printf '%s\n' /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin | sort -rV) \
        $(printf '%s\n' "$(tools_dir)"/postgres-*/bin | sort -rV); do
        if [ -n "$candidate" ] && [ -x "$candidate/initdb" ] && at_least 15 "$candidate/postgres"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# Prints the nats-server program, or fails.
nats_server() {
    local candidate
    for candidate in \
        "${ORDERS_NATS_SERVER:-}" \
        "$(command -v nats-server || true)" \
        /usr/sbin/nats-server /opt/homebrew/bin/nats-server /usr/local/bin/nats-server \
        $(printf '%s\n' "$(tools_dir)"/nats-server-*/nats-server | sort -rV); do
        if [ -n "$candidate" ] && at_least 2.9 "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}
