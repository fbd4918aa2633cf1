#!/usr/bin/env bash
# A TPU slice of one or more hosts, from nothing to nothing: asks for it, waits, installs this working
# copy on all its hosts, runs the command on all of them, shows the log of the first, deletes the slice.
#
#   bash launch/tpu_pod.sh [--dry_run] --zone=ZONE --type=TYPE --runtime=VERSION [--spot] [--name=NAME]
#       [--project=PROJECT] COMMAND ARGUMENTS…
#   e.g. bash launch/tpu_pod.sh --zone=us-west4-a --type=v5litepod-16 --runtime=v2-alpha-tpuv5-lite --spot \
#       pretrain --config=configs/amr.py:ntu60_xsub --config.data_dir=gs://B/data --workdir=gs://B/run
#
# runs `python -m amr_jax.COMMAND ARGUMENTS…` on every host: in the background there, so that a broken
# connection ends nothing. If it ends with status 75 (told to stop, everything saved) it is started again;
# if the slice has vanished, as spot slices do, another one is asked for: the workdir must be on gs://.
# The slice is deleted at the end, whatever the end is: success, failure, Ctrl-C, SIGTERM, a closed
# terminal (so use tmux). After SIGKILL, or the loss of the machine that this runs on, delete it by hand.
#
# To set: gcloud with a project and rights on TPUs (`gcloud auth login`, `gcloud config set project`), an ssh
#         key without a passphrase or in an agent; a bucket in the region of ZONE. Types, zones and
#         versions: cloud.google.com/tpu/docs/regions-zones and …/docs/runtimes
# Cost:   chips × hours from ACTIVE to deleted, installing and compiling included; a v5litepod-16 is 16
#         chips. --spot is much cheaper and can be taken away at any time. Waiting costs nothing.
#         Prices: cloud.google.com/tpu/pricing
# AMR_POLL_SECONDS  between two looks at the state (default 30)
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=commands.sh
source "$(dirname "${BASH_SOURCE[0]}")/commands.sh"

poll=${AMR_POLL_SECONDS:-30}
patience=20 # looks at a slice that is said to be there and cannot be reached
zone='' type='' runtime='' spot='' name=amr project=''
while [ $# -gt 0 ]; do
  case $1 in
    --dry_run) dry_run=1 ;;
    --zone=*) zone=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --runtime=*) runtime=${1#*=} ;;
    --spot) spot=--spot ;;
    --name=*) name=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    -*) fail "unknown flag $1; the head of $0 says which there are." ;;
    *) break ;;
  esac
  shift
done
for setting in zone type runtime name; do
  [ -n "${!setting}" ] || fail "--$setting=… is missing; the head of $0 says what to set."
done
check_command "$@"
check_several "$1"
case $(value_of workdir "$@") in
  gs://?*) ;;
  *) fail "expected --workdir=gs://BUCKET/…: what is on the slice's own disks goes with the slice." ;;
esac
[ -n "$dry_run" ] || command -v gcloud >/dev/null || fail "gcloud is not installed: cloud.google.com/sdk"

place=(--zone="$zone")
[ -z "$project" ] || place+=(--project="$project")
scratch=${TMPDIR:-/tmp}/amr_jax.XXXXXX
made='' background=''

tpus() {
  run gcloud compute tpus "$@" "${place[@]}"
}

# Runs a shell command on worker $1, or on `all` at once; gcloud tries broken connections again itself,
# and ssh is told to notice when the other side is gone without a word.
on_workers() {
  local status=0 call=(gcloud compute tpus tpu-vm ssh "$name" --worker="$1" --command="$2"
    --ssh-flag=-oServerAliveInterval=30 "${place[@]}")
  if [ -n "$dry_run" ]; then
    quoted "${call[@]}"
    return
  fi
  # In the background, as bash acts on signals only while it waits for nothing in the foreground.
  "${call[@]}" &
  background=$!
  wait "$background" || status=$?
  background=''
  return "$status"
}

state() {
  tpus queued-resources describe "$name" --format='value(state.state)'
}

# Prints how the slice is; that gcloud fails now and then does not mean that it is gone.
look() {
  local try
  for ((try = 0; try < patience; try++)); do
    if state; then return; fi
    sleep "$poll"
  done
  fail "gcloud cannot say how $name is, see above."
}

# Whether the slice is there; the state lags behind, so it is asked for only a moment later.
still_active() {
  local found
  sleep "$poll"
  found=$(look) || exit
  [ "$found" = ACTIVE ]
}

# Whether the slice was taken away; it can take minutes until that is said of a spot slice.
vanished() {
  local try tries=1
  [ -z "$spot" ] || tries=5
  for ((try = 0; try < tries; try++)); do
    if ! still_active; then return; fi
  done
  return 1
}

delete_slice() {
  tpus queued-resources delete "$name" --force --quiet
}

# shellcheck disable=SC2329 # called by the trap
clean_up() {
  local status=$?
  trap - EXIT
  trap '' INT TERM HUP # not to be hurried: what is not deleted goes on costing
  [ -z "$background" ] || kill "$background" 2>/dev/null || true # may have ended
  [ -n "$dry_run" ] || rm -rf "$scratch"
  if [ -n "$made" ] && ! delete_slice; then
    echo "error: $name in $zone could NOT be deleted and goes on costing. Delete it:" \
      "gcloud compute tpus queued-resources delete $name --force ${place[*]}" >&2
    status=1
  fi
  exit "$status"
}

# Asks for the slice and waits until it is there; 255: it was taken away at once.
create_slice() {
  local found
  say "asking for a $type in $zone, named $name"
  made=1 # whatever interrupts this: there may be something to delete
  tpus queued-resources create "$name" --node-id="$name" --accelerator-type="$type" \
    --runtime-version="$runtime" ${spot:+"$spot"} || fail "the slice was refused, see above."
  if [ -n "$dry_run" ]; then
    state
    return
  fi
  while true; do
    found=$(look) || exit
    say "$(date +%H:%M:%S) $name: $found"
    case $found in
      ACTIVE) return ;;
      SUSPENDING | SUSPENDED) return 255 ;;
      FAILED) fail "the slice could not be made. Try another zone, type, or time." ;;
    esac
    sleep "$poll"
  done
}

install_on_slice() {
  say "installing on all workers"
  tpus tpu-vm scp "$scratch/amr_jax.tar.gz" "$name:amr_jax.tar.gz" --worker=all &&
    on_workers all "mkdir -p amr_jax && tar -xzf amr_jax.tar.gz -C amr_jax && bash amr_jax/launch/tpu_vm.sh --install_only"
}

# Starts the command on all workers and leaves it alone. Where it runs already nothing happens: gcloud
# tries broken connections again.
start() {
  local kept='bash launch/tpu_vm.sh --once "$@"; echo $? >../run.status' # expanded on the worker
  on_workers all "kill -0 \$(cat run.pid 2>/dev/null) 2>/dev/null && exit; rm -f run.status; cd amr_jax || exit; nohup bash -c '$kept' amr $quoted_command >../run.log 2>&1 </dev/null & echo \$! >../run.pid"
}

# Shows the log of worker 0 to its end, over broken connections.
follow() {
  local lines=+1 try
  for ((try = 0; try < patience; try++)); do
    if on_workers 0 "tail --lines=$lines --follow=name --pid=\$(cat run.pid) run.log"; then return; fi
    lines=20
    still_active || return
  done
}

# Waits for the command's end on all workers; prints one line of each, or fails if one is out of reach.
statuses() {
  on_workers all "tail --follow --pid=\$(cat run.pid) /dev/null; echo \"ended with status \$(cat run.status || echo lost)\""
}

# Prints how the command ended. A worker without a status was restarted, and what the others ended with
# came of that: as good as stopped from outside. Else that of one that failed, else 75 of any, else 0.
worst() {
  local found
  found=$(sed -n 's/^.*ended with status //p' "$scratch/statuses")
  found=${found:-255} # nobody answered
  if grep -qx lost <<<"$found"; then
    echo "$SAVED"
    return
  fi
  grep -vxm1 -e 0 -e "$SAVED" <<<"$found" || grep -xm1 "$SAVED" <<<"$found" || echo 0
}

# Installs and runs on a slice that is there until the command ends. Returns its status; 255: out of reach.
run_on_slice() {
  local status try
  install_on_slice || return 255
  while true; do
    start || return 255
    follow
    if [ -n "$dry_run" ]; then
      statuses
      return
    fi
    try=0
    until statuses >"$scratch/statuses"; do
      try=$((try + 1))
      if [ "$try" -ge "$patience" ] || ! still_active; then return 255; fi
    done
    status=$(worst)
    if [ "$status" != "$SAVED" ] || ! still_active; then return "$status"; fi
    say "stopped from outside, everything saved (status $SAVED): starting again"
  done
}

if [ -z "$dry_run" ]; then
  if state >/dev/null 2>&1; then
    fail "there is a slice $name in $zone already; it was not touched. Choose another --name, or delete it."
  fi
  scratch=$(mktemp -d "$scratch")
fi
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
run tar --create --gzip --file="$scratch/amr_jax.tar.gz" --directory="$repository" \
  --exclude=__pycache__ setup.py pyproject.toml README.md amr_jax configs launch tfds_builders
quoted_command=$(quoted "$@")

while true; do
  status=0
  { create_slice && run_on_slice; } || status=$?
  # (2: a mistake in the command's arguments or data, as it says)
  if [ "$status" = 0 ] || [ "$status" = 2 ] || ! vanished; then break; fi
  say "the slice has vanished: asking for another one"
  delete_slice
  made=''
done
if [ "$status" = 255 ]; then
  echo "error: the workers could not be installed or reached, see above." >&2
elif [ "$status" != 0 ]; then
  echo "error: the command ended with status $status; the last lines of all workers:" >&2
  on_workers all "hostname; tail --lines=20 run.log" >&2 || true # how it ended is known already
fi
exit "$status"
