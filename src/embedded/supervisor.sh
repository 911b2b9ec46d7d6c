# Runs one server, and stops it when the service ends, even by kill -9. Called as
#   sh -c <this text> supervisor LOG STEPS PROGRAM [ARGUMENT...]
# Standard input is a pipe that only the service holds open. When it closes, the server is stopped:
# the service has closed it or has died. STEPS is "SIGNAL:TENTHS ...": the signals to send, in order,
# and how many tenths of a second to wait after each. Prints the server's process id, and ends with
# the server's exit status.
log=$1
steps=$2
shift 2
exec 3<&0 </dev/null
# If a process of the group is stopped when the service dies, the kernel sends SIGHUP to the group.
# The supervisor must survive that to stop the server. The servers inherit this and set their own
# handlers.
trap '' HUP
# A shell starts background programs with SIGINT and SIGQUIT ignored. PostgreSQL sets its own handlers
# for them.
"$@" >>"$log" 2>&1 3<&- &
server=$!
# A subshell watches the pipe, so that the server is stopped even if this shell is killed.
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
