# shellcheck shell=bash
# shellcheck disable=SC2154 # run and the other parts set the rest
# The units, in a real systemd: as the first process of a container over this machine's own files. To be sourced.

# Where the container's root is mounted; what is written there is gone with it.
machine=$state/machine

systemd() {
  podman exec rollcall-machine systemctl "$@"
}

show_journal() {
  podman exec rollcall-machine journalctl --no-pager --lines 60 --output cat "$@" | cut -c1-300
}

make_machine() {
  local layers=$state/layers directory unit
  mkdir -p "$machine" "$layers"
  mount -t tmpfs layers "$layers"
  mkdir -p "$layers"/{upper,work}
  # Empty there, whatever is here: opaque directories of the upper layer.
  for directory in tmp run work root var/tmp var/log var/lib/rollcall; do
    mkdir -p "$layers/upper/$directory"
    /usr/bin/python3 -c 'import os, sys; os.setxattr(sys.argv[1], "trusted.overlay.opaque", b"y")' "$layers/upper/$directory"
  done
  chmod 1777 "$layers/upper/tmp"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" "$machine"
  # What would change the kernel that all share.
  for unit in systemd-sysctl systemd-modules-load systemd-binfmt systemd-remount-fs; do
    ln -sf /dev/null "$machine/etc/systemd/system/$unit.service"
  done
  printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' >"$machine/etc/systemd/system/rollcall-test.target"
}

test_units() {
  # The programs are on no machine yet; but for that there is nothing to complain of.
  { systemd-analyze verify deploy/systemd/*.service deploy/systemd/*.timer 2>&1 || true; } |
    sed '/ is not executable: /d' >"$state/verify"
  [ ! -s "$state/verify" ] || show_and_fail "$state/verify"

  make_machine
  deploy/systemd/install "$programs" "$machine"
  # The directory of this machine is on loopback.
  own_egress | sed 's/^ *//' | tee -a "$machine/etc/rollcall/auth-gateway.toml" >>"$machine/etc/rollcall/sync-worker.toml"
  podman run --detach --name rollcall-machine --systemd always --network host --privileged --cgroupns host --rootfs "$machine" \
    /lib/systemd/systemd --unit rollcall-test.target >/dev/null
  eventually 30 systemd is-active --quiet rollcall-test.target || fail "systemd does not start"
  systemd start rollcall-sync-worker rollcall-auth-gateway || { show_journal; fail "the units do not start"; }
  local port name
  for port in 8081 8082; do
    eventually 60 ready "$port" || { show_journal; fail "a service does not become ready"; }
  done

  # How much a service that was taken over could do.
  for name in auth-gateway sync-worker; do
    podman exec rollcall-machine systemd-analyze security --no-pager --threshold=20 "rollcall-$name.service" | tail -n 1 ||
      fail "rollcall-$name is exposed more than it has to be"
  done

  call_by plaintext localhost:50051 localhost:50052
  (walk_through) >"$state/walk.log" 2>&1 || { show_journal; show_and_fail "$state/walk.log"; }

  # Killed, it is back; a mistake in its configuration is told once and not tried again.
  systemd kill --signal KILL rollcall-auth-gateway
  eventually 30 restarted rollcall-auth-gateway || { show_journal; fail "the gateway is not started again"; }
  eventually 30 ready 8081 || fail "the gateway does not come back"
  systemd reload rollcall-auth-gateway
  systemd stop rollcall-auth-gateway
  [ "$(systemd show --property Result --value rollcall-auth-gateway)" = success ] || { show_journal; fail "the gateway does not stop well"; }
  echo 'no_such_key = 1' >>"$machine/etc/rollcall/auth-gateway.toml"
  systemd start rollcall-auth-gateway || true
  eventually 10 [ "$(systemd show --property Result --value rollcall-auth-gateway)" = exit-code ] || fail "a mistake is overlooked"
  [ "$(systemd show --property ExecMainStatus --value rollcall-auth-gateway)" = 64 ] || fail "a mistake does not end with 64"

  # The timer in place of the scheduler.
  systemd stop rollcall-sync-worker
  sed -i 's/^enabled = true/enabled = false/' "$machine/etc/rollcall/sync-worker.toml"
  systemd start rollcall-run-due.timer
  [ -n "$(systemd show --property NextElapseUSecRealtime --value rollcall-run-due.timer)" ] || fail "the timer waits for nothing"
  make_due
  systemd start rollcall-run-due || { show_journal --unit rollcall-run-due; fail "run-due failed"; }
  show_journal --unit rollcall-run-due >"$state/run-due.log"
  grep -E 'Succeeded' "$state/run-due.log" || show_and_fail "$state/run-due.log"
  [ "$(grep -c Succeeded "$state/run-due.log")" = 2 ] || fail "run-due did not run the two that were due"
  # Whoever cannot be reached makes the unit fail.
  stop_process slapd
  make_due
  if systemd start rollcall-run-due; then fail "run-due hides that a user sync failed"; fi
  serve_directory
  podman rm --force --time 1 rollcall-machine >/dev/null 2>&1
  umount "$machine" "$state/layers"
  echo "the units: a walk-through, a restart, a refusal, the timer's service"
}

restarted() {
  [ "$(systemd show --property NRestarts --value "$1")" -ge 1 ]
}

# make_due: every user sync of the machine's database.
make_due() {
  /usr/bin/python3 -c 'import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database: database.execute("UPDATE user_syncs SET next_run_time = 1")' \
    "$machine/var/lib/rollcall/rollcall.db"
}
