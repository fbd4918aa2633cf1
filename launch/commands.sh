# shellcheck shell=bash
# How the launchers run a command of amr_jax. They source this file, which sources environment.sh.
#
#   check_command COMMAND ARGUMENT…   exits with status 2 unless amr_jax has this command
#   until_done COMMAND…               runs it, and again as long as it exits with status 75
#
# A run exits with status 75 after SIGTERM (preemption, a time limit), when it has saved its state; the
# same command resumes it.

# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

SAVED=75

check_command() {
  [ $# -gt 0 ] || fail "the command is missing: e.g. pretrain --config=configs/amr.py:ntu60_xsub --workdir=RUN"
  grep -qs '__name__ == "__main__"' "$repository/amr_jax/${1//[!a-z_]/-}"{.py,/__main__.py} ||
    fail "amr_jax has no command '$1'; expected e.g. pretrain or evaluate, after the launcher's own flags."
}

# Passes a signal on to `child`, which may just have ended.
_pass_on() {
  interrupted=1 stopped=1
  kill -s "$1" "$child" 2>/dev/null || true
}

# SIGTERM and Ctrl-C reach the command as SIGTERM: it saves, and is not started again. A second Ctrl-C
# kills it.
until_done() {
  local status=$SAVED interrupted stopped='' child
  if [ -n "$dry_run" ]; then
    run "$@"
    return
  fi
  trap '_pass_on TERM' TERM
  trap '_pass_on TERM; trap "_pass_on KILL" INT' INT
  while [ "$status" = "$SAVED" ] && [ -z "$stopped" ]; do
    # In the background: bash handles signals only while nothing runs in the foreground.
    "$@" &
    child=$! interrupted=1
    while [ -n "$interrupted" ]; do # a signal ends `wait`, not the command
      interrupted='' status=0
      wait "$child" || status=$?
    done
    [ "$status" != "$SAVED" ] || echo "preempted, and the state is saved (status $SAVED)" >&2
  done
  trap - TERM INT
  return "$status"
}
