# shellcheck shell=bash
# shellcheck disable=SC2154 # run and the other parts set the rest
# The compose file, as it is, by podman-compose; only the network and the limits are those of the machine. To be sourced.

compose() {
  (cd "$state/compose" && ROLLCALL_IMAGE=$image "$python_tools/podman-compose" --file compose.yaml --file here.yaml "$@")
}

# compose_token NAME: which token a call shows now.
compose_token() {
  cat "$state/compose/own/$1.token"
}

test_compose() {
  need_image
  mkdir "$state/compose"
  cp deploy/compose/compose.yaml "$state/compose"
  deploy/compose/prepare "$state/compose/own"
  if deploy/compose/prepare "$state/compose/own" 2>/dev/null; then fail "a second prepare takes the first one's keyring away"; fi
  # The directory of this machine is on loopback.
  sed -i "s|^allow_cidrs = .*|allow_cidrs = [\"127.0.0.0/8\"]\nallow_ports = [636, $ldap_port, $ldaps_port]|" "$state"/compose/own/settings/*.toml
  local service
  {
    echo 'services:'
    for service in migrate sync-worker auth-gateway; do printf '  %s: {network_mode: host, ulimits: {nofile: 1024, nproc: 1024}}\n' "$service"; done
  } >"$state/compose/here.yaml"

  compose --profile migrate run --rm migrate >"$state/compose.log" 2>&1 || show_and_fail "$state/compose.log"
  compose up --detach >"$state/compose.log" 2>&1 || show_and_fail "$state/compose.log"
  for port in 8081 8082; do
    eventually 30 ready "$port" || { show_pods; show_and_fail "$state/compose.log"; }
  done
  local id
  for id in $(podman ps --quiet); do
    podman inspect "$id" | jq -e '.[0] | .HostConfig.ReadonlyRootfs and .Config.User == "65532:65532" and .EffectiveCaps == null' >/dev/null ||
      fail "a container is not as strict as the file says"
    podman healthcheck run "$id" >/dev/null || fail "a health check of the file fails"
  done
  call_by tls localhost:50051 localhost:50052 "$state/compose/own/secrets/ca.crt" compose_token
  (walk_through) >"$state/walk.log" 2>&1 || { show_pods; show_and_fail "$state/walk.log"; }
  renew_at_login
  compose down >"$state/compose.log" 2>&1 || show_and_fail "$state/compose.log"
  podman volume prune --force >/dev/null 2>&1
  echo "compose: migration, health checks, a whole walk-through over TLS, a renewal"
}
