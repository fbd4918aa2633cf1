# shellcheck shell=bash
# How the launchers run a command of amr_jax; they source it, and with it environment.sh.
#
#   check_command COMMAND ARGUMENT…   ends with status 2 unless amr_jax has this command
#   check_several COMMAND             ends with status 2 unless it can run as several processes
#   value_of NAME ARGUMENT…           prints the value of --NAME=VALUE among the arguments; else nothing
#   until_done COMMAND…               runs it, and again as long as it ends with status 75
#
# Status 75 is that of a run which was told to stop (SIGTERM: a preempted machine, a time limit) and has
# saved everything: the same command goes on from there.

# shellcheck source-path=SCRIPTDIR source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

SAVED=75

check_command() {
  [ $# -gt 0 ] || fail "the command is missing: e.g. pretrain --config=configs/amr.py:ntu60_xsub --workdir=RUN"
  case $1 in
    '' | *[!a-z_]*) ;;
    *)
      if [ -f "$repository/amr_jax/$1/__main__.py" ] ||
        grep -qs '__name__ == "__main__"' "$repository/amr_jax/$1.py"; then
        return
      fi
      ;;
  esac
  fail "amr_jax has no command '$1'; expected e.g. pretrain or evaluate, after the launcher's own flags."
}

# Of a command that is to run as several processes of one run.
check_several() {
  case $1 in
    pretrain | evaluate) ;;
    *) fail "$1 does not run on several hosts, or as several processes; expected pretrain or evaluate." ;;
  esac
}

value_of() {
  local name=$1 argument value=
  shift
  for argument in "$@"; do
    case $argument in --"$name"=*) value=${argument#*=} ;; esac
  done
  echo "$value"
}

# Passes a signal on to `child`, which may just have ended.
_pass_on() {
  interrupted=1 stopped=1
  kill -s "$1" "$child" 2>/dev/null || true
}

# SIGTERM and Ctrl-C are passed on as SIGTERM: the command saves, and is not started again. The second
# Ctrl-C kills it.
until_done() {
  local status interrupted stopped='' child
  if [ -n "$dry_run" ]; then
    run "$@"
    return
  fi
  trap '_pass_on TERM' TERM
  trap '_pass_on TERM; trap "_pass_on KILL" INT' INT
  while true; do
    # In the background, as bash acts on signals only while it waits for nothing in the foreground.
    "$@" &
    child=$!
    interrupted=1
    while [ -n "$interrupted" ]; do # a signal ends `wait`, not the command
      interrupted=
      status=0
      wait "$child" || status=$?
    done
    if [ "$status" != "$SAVED" ] || [ -n "$stopped" ]; then
      trap - TERM INT
      return "$status"
    fi
    echo "stopped from outside, everything saved (status $SAVED): starting again" >&2
  done
}
