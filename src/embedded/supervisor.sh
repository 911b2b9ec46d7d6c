# Runs one server and stops it as soon as the service goes away, even by kill -9. Called as
#   sh -c <this text> supervisor LOG STEPS PROGRAM [ARGUMENT...]
# Standard input is a pipe that only the service holds open: its end says "stop", whether the
# service asked for it or died. STEPS is "SIGNAL:TENTHS ...": the signals to send, in order, and
# how many tenths of a second to wait after each. Prints the server's process id and ends with the
# server's exit status.
log=$1
steps=$2
shift 2
exec 3<&0 </dev/null
# The kernel hangs up on a process group that holds a stopped process when the service dies, which
# is just when a supervisor is needed. The servers inherit this and set handlers of their own.
trap '' HUP
# A shell starts background programs with SIGINT and SIGQUIT ignored; PostgreSQL sets handlers for
# them all the same.
"$@" >>"$log" 2>&1 3<&- &
server=$!
# A subshell watches the pipe, so that it still does when this shell itself is killed.
(
  while read -r _ <&3; do :; done
  for step in $steps; do
    kill -s "${step%:*}" "$server"
    tenths=${step#*:}
    while [ "$tenths" -gt 0 ] && kill -0 "$server"; do
      sleep 0.1
      tenths=$((tenths - 1))
    done
  done
) >/dev/null 2>&1 &
watcher=$!
echo "$server"
exec 3<&- >/dev/null 2>&1
wait "$server"
status=$?
kill "$watcher"
exit "$status"
