#!/usr/bin/env bash
# Runs all tests. The last line is a summary over all test binaries, in the format of cargo test.
set -euo pipefail
cd "$(dirname "$0")/.."

report=$(mktemp)
trap 'rm -f "$report"' EXIT
status=0
cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$report" || status=$?
echo
grep -E '^test .* (FAILED|failed)$' "$report" || true
# "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.23s"
sed -n 's/^test result: [a-zA-Z]*\. //p' "$report" | awk -v status="$status" '
    { gsub(";", ""); passed += $1; failed += $3; ignored += $5 }
    END {
        printf "test result: %s. %d passed; %d failed; %d ignored; %d suites\n",
            status == 0 ? "ok" : "FAILED", passed, failed, ignored, NR
    }'
exit "$status"
