# shellcheck shell=bash
# shellcheck disable=SC2154 # directory.sh sets ldap_port and ldaps_port
# Rollcall's two services on one SQLite file. To be sourced, with $root, $state, $gateway, $worker, $gateway_health
# and $worker_health set and processes.sh loaded.

: "${root:?}" "${state:?}" "${gateway:?}" "${worker:?}" "${gateway_health:?}" "${worker_health:?}"

programs=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")/quickstart

start_services() {
  printf 'quickstart %s\n' "$(openssl rand -base64 32)" >"$state/keyring"
  {
    printf '[server]\nlisten = "%s"\n\n[health]\nlisten = "%s"\n' "$worker" "$worker_health"
    shared_settings
  } >"$state/sync-worker.toml"
  {
    printf '[server]\nlisten = "%s"\n\n[health]\nlisten = "%s"\n' "$gateway" "$gateway_health"
    printf '\n[worker]\nendpoint = "http://%s"\n' "$worker"
    shared_settings
  } >"$state/auth-gateway.toml"
  printf '%s %s\n' "$gateway" "$worker" >"$state/addresses"

  ask_service sync-worker migrate >>"$state/sync-worker.log" 2>&1 || show_and_fail "$state/sync-worker.log"
  local name
  for name in sync-worker auth-gateway; do
    start_process "$name" "$programs/$name" --config "$state/$name.toml"
    wait_until "$name" 30 ask_service "$name" healthcheck || {
      echo "$name did not become ready. If a port is taken, the head of deploy/quickstart says how to choose others." >&2
      show_and_fail "$state/$name.log"
    }
  done
}

# ask_service NAME SUBCOMMAND: where the service itself runs, since the store's path is relative.
ask_service() {
  (cd "$state" && "$programs/$1" --config "$state/$1.toml" "$2")
}

shared_settings() {
  cat <<TOML

[store]
url = "sqlite://rollcall.db?mode=rwc"

[keyring]
key_file = "$state/keyring"

# Rollcall contacts no private address unless told to, and the sample directory is on loopback.
[egress]
allow_cidrs = ["127.0.0.0/8"]
allow_ports = [389, 636, 3268, 3269, $ldap_port, $ldaps_port]
TOML
}
