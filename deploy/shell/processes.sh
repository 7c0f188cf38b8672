# shellcheck shell=bash
# Starts and stops processes by pid file. To be sourced, with $state (a directory of our own) set.

: "${state:?}"

# A pid file may be left over and its number be somebody else's by now: a process is ours only if a file of
# $state is on its command line.
is_running() {
  local pid
  pid=$(cat "$state/$1.pid" 2>/dev/null) || return 1
  [ -n "$pid" ] && grep -qzF -e "$state/" "/proc/$pid/cmdline" 2>/dev/null
}

# start_process NAME COMMAND...: in the background, in a session of its own, printing to NAME.log.
start_process() {
  local name=$1
  shift
  (cd "$state" && exec setsid "$@" </dev/null >>"$state/$name.log" 2>&1) &
  local pid=$!
  echo "$pid" >"$state/$name.pid"
  disown
  # Until it is the program that is asked for, and no longer this shell.
  until is_running "$name" || ! kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
}

# stop_process NAME: politely first.
stop_process() {
  local name=$1 pid tries
  if is_running "$name"; then
    pid=$(cat "$state/$name.pid")
    kill -TERM "$pid" 2>/dev/null || true
    for ((tries = 0; tries < 300; tries++)); do
      is_running "$name" || break
      sleep 0.1
    done
    if is_running "$name"; then kill -KILL "$pid" 2>/dev/null || true; fi
    echo "stopped $name (pid $pid)"
  fi
  rm -f "$state/$name.pid"
}

# wait_until NAME SECONDS COMMAND...: until the command succeeds, while the process NAME lives.
wait_until() {
  local name=$1 seconds=$2
  shift 2
  local end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    if ! is_running "$name" || [ "$SECONDS" -ge "$end" ]; then return 1; fi
    sleep 0.1
  done
  # What answered may be somebody else, on an address that was not free.
  is_running "$name"
}
