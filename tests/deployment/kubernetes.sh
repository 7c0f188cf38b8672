# shellcheck shell=bash
# shellcheck disable=SC2154 # run and the other parts set the rest
# The chart and its overlays: rendered, validated, and started as pods. To be sourced.

# The newest release of Kubernetes whose schemas are at hand, and the oldest that the chart promises.
kubernetes_versions=(1.27.0 1.37.0)

# render VALUES...: the chart as somebody would with values of their own.
render() {
  local -a values=()
  local file
  for file in "$@"; do values+=(--values "$file"); done
  helm template rollcall deploy/helm/rollcall --kube-version "${kubernetes_versions[1]}" "${values[@]}"
}

test_manifests() {
  helm lint --strict deploy/helm/rollcall
  deploy/kubernetes/render --check
  local overlay version
  for overlay in sqlite postgres; do
    "$here/manifests" rules "deploy/kubernetes/$overlay/rollcall.yaml"
    for version in "${kubernetes_versions[@]}"; do
      "$python_tools/kubernetes-validate" --strict --quiet -k "$version" "deploy/kubernetes/$overlay/rollcall.yaml"
    done
    # What kustomize makes of it is the same objects.
    kubectl kustomize "deploy/kubernetes/$overlay" >"$state/built.yaml"
    "$here/manifests" same "deploy/kubernetes/$overlay/rollcall.yaml" "$state/built.yaml" || fail "kustomize builds something else"
  done
  # What the defaults leave out is valid too.
  cat >"$state/everything.yaml" <<'YAML'
cronJob: {enabled: true}
gateway: {autoscaling: {enabled: false}, nodeSelector: {a: b}, tolerations: [{operator: Exists}], env: [{name: RUST_BACKTRACE, value: "1"}]}
worker: {nodeSelector: {a: b}, tolerations: [{operator: Exists}], podAnnotations: {a: b}}
imagePullSecrets: [{name: registry}]
image: {digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000"}
hostAliases: [{ip: 10.0.0.1, hostnames: [ldap.example]}]
networkPolicy:
  gatewayClients: [{namespaceSelector: {matchLabels: {a: b}}}]
  workerClients: [{namespaceSelector: {matchLabels: {a: b}}}]
  monitoring: [{namespaceSelector: {matchLabels: {a: b}}}]
  database: [{ipBlock: {cidr: 10.0.0.0/8}}]
  extraEgress: [{ports: [{port: 4317}]}]
YAML
  render "$state/everything.yaml" >"$state/everything.rendered.yaml"
  "$here/manifests" rules "$state/everything.rendered.yaml"
  "$python_tools/kubernetes-validate" --strict --quiet "$state/everything.rendered.yaml"
  # A slip in a value is refused, and not overlooked.
  echo 'gateway: {replcas: 3}' >"$state/slip.yaml"
  if render "$state/slip.yaml" >/dev/null 2>"$state/slip"; then fail "a value that does not exist is taken"; fi
  grep -q replcas "$state/slip" || show_and_fail "$state/slip"
}

# run_once FILE NAME [ARGUMENT...]: the pod of a Job, CronJob or Deployment, to its end. Its lines stay in $state/once.log; the
# status is that of its containers.
run_once() {
  local file=$1 name=$2 container status=0
  shift 2
  local -a containers
  mapfile -t containers < <("$here/manifests" job "$file" "$name" "$secrets" "$state/once" "$@")
  podman kube play "$state/once/once.yaml" >"$state/once.play" 2>&1 || show_and_fail "$state/once.play"
  : >"$state/once.log"
  for container in "${containers[@]}"; do
    local code
    code=$(podman wait "$container")
    podman logs "$container" >>"$state/once.log" 2>&1
    [ "$code" = 0 ] || status=$code
  done
  podman kube down "$state/once/once.yaml" >/dev/null 2>&1
  podman volume prune --force >/dev/null 2>&1
  return "$status"
}

# check_configuration FILE DEPLOYMENT...: --check-config with all that the containers get; and that it does look.
check_configuration() {
  local file=$1 name status
  shift
  for name in "$@"; do
    run_once "$file" "$name" --check-config || { cat "$state/once.log"; fail "$name: its configuration is refused"; }
    status=0
    run_once "$file" "$name" --check-config --set server.no_such_key=1 || status=$?
    [ "$status" = 64 ] || fail "$name: a key that does not exist ends with $status"
    echo "$name: --check-config takes every key"
  done
}

# ready PORT: the health listener says so, as a kubelet asks.
ready() {
  curl -sf "http://127.0.0.1:$1/readyz"
}

play() {
  podman kube play "$1/play.yaml" >"$state/play.log" 2>&1 || show_and_fail "$state/play.log"
}

show_pods() {
  podman ps --all --format '{{.Names}} {{.Status}}'
  local container
  for container in $(podman ps --all --quiet); do podman logs --tail 20 "$container" 2>&1 | cut -c1-400; done
}

own_values() {
  cat <<YAML
image: {repository: localhost/rollcall, tag: test, pullPolicy: Never}
gateway: {healthPort: 8081}
worker: {healthPort: 8082, replicas: 1}
YAML
}

# The egress policy that lets the directory of this machine be reached.
own_egress() {
  cat <<TOML
    [egress]
    allow_cidrs = ["127.0.0.0/8"]
    allow_ports = [636, $ldap_port, $ldaps_port]
TOML
}

test_sqlite() {
  need_image
  {
    own_values
    printf 'config:\n  shared: |\n'
    own_egress
  } >"$state/sqlite.values.yaml"
  render deploy/kubernetes/sqlite/values.yaml "$state/sqlite.values.yaml" >"$state/sqlite.yaml"
  sed 's|image: rollcall:.*|image: localhost/rollcall:test|; s|imagePullPolicy: .*|imagePullPolicy: Never|' \
    deploy/kubernetes/sqlite/rollcall.yaml >"$state/sqlite.shipped.yaml"
  check_configuration "$state/sqlite.shipped.yaml" rollcall

  "$here/manifests" play "$state/sqlite.yaml" "$secrets" "$state/sqlite"
  play "$state/sqlite"
  for port in 8081 8082; do
    eventually 60 ready "$port" || { show_pods; fail "a service does not become ready"; }
  done
  call_by plaintext localhost:50051 localhost:50052
  (walk_through) >"$state/walk.log" 2>&1 || { show_pods; show_and_fail "$state/walk.log"; }
  tail -n 3 "$state/walk.log"
  # Begins again on the same file: everybody is still there.
  podman pod restart --all >/dev/null 2>&1
  for port in 8081 8082; do eventually 60 ready "$port" || { show_pods; fail "a service does not come back"; }; done
  authenticate "\"tenant\": \"$tenant\", \"login\": \"anna.weaver\", \"password\": \"Aurora-anna.weaver\"" >/dev/null
  expect '.authenticated.user.login == "anna.weaver"'

  # Backed up while it works, and restored after more has happened.
  local files
  files=$(podman volume inspect rollcall-data --format '{{.Mountpoint}}')
  sqlite3 "$files/rollcall.db" ".backup '$state/backup.db'"
  later_begins
  podman pod stop --all >/dev/null 2>&1
  rm -f "$files/rollcall.db-wal" "$files/rollcall.db-shm"
  install -o 65532 -g 65532 -m 600 "$state/backup.db" "$files/rollcall.db"
  podman pod start --all >/dev/null 2>&1
  for port in 8081 8082; do eventually 60 ready "$port" || { show_pods; fail "a service does not start on a backup"; }; done
  later_is_gone
  podman kube down "$state/sqlite/play.yaml" >/dev/null 2>&1
  podman volume rm --all --force >/dev/null 2>&1
  echo "the pod with SQLite: a whole walk-through, a restart, a backup and its restoration"
}

# As deploy/kubernetes/postgres, with the hashes of this test's tokens.
postgres_values() {
  own_values
  cat <<YAML
config:
  shared: |
$(own_egress)
  gateway: |
    [[callers]]
    name = "product"
    token_sha256 = "$(hash_of product)"
    permissions = ["authenticate", "users.read", "users.write"]
    tenants = ["*"]
  worker: |
    [[callers]]
    name = "back-office"
    token_sha256 = "$(hash_of back-office)"
    permissions = ["tenants.write", "syncs.read", "syncs.write", "runs", "audit"]
    tenants = ["*"]
    [[callers]]
    name = "auth-gateway"
    token_sha256 = "$(hash_of gateway)"
    permissions = ["runs"]
    tenants = ["*"]
    [[callers]]
    name = "cronjob"
    token_sha256 = "$(hash_of cronjob)"
    permissions = ["runs"]
    tenants = ["*"]
YAML
}

# replicas_begin: migrates an empty database as the Job does, and starts the Deployments; calls then go to them.
replicas_begin() {
  need_image
  empty_database
  postgres_values >"$state/postgres.values.yaml"
  render deploy/kubernetes/postgres/values.yaml "$state/postgres.values.yaml" >"$state/postgres.yaml"
  run_once "$state/postgres.yaml" rollcall-migrate-test || { cat "$state/once.log"; fail "the migration failed"; }
  "$here/manifests" play "$state/postgres.yaml" "$secrets" "$state/replicated"
  replicas_play
  call_by tls rollcall-auth-gateway:50051 rollcall-sync-worker:50052 "$state/ca.pem" token_of
}

replicas_play() {
  play "$state/replicated"
  for port in 8081 8082; do
    eventually 60 ready "$port" || { show_pods; fail "a service does not become ready"; }
  done
}

replicas_end() {
  podman kube down "$state/replicated/play.yaml" >/dev/null 2>&1
  podman volume prune --force >/dev/null 2>&1
}

test_postgres() {
  need_image
  sed 's|image: rollcall:.*|image: localhost/rollcall:test|; s|imagePullPolicy: .*|imagePullPolicy: Never|' \
    deploy/kubernetes/postgres/rollcall.yaml >"$state/postgres.shipped.yaml"
  check_configuration "$state/postgres.shipped.yaml" rollcall-auth-gateway rollcall-sync-worker

  # Replicas that are there before the migration refuse, and say so.
  empty_database
  local status=0
  run_once "$state/postgres.shipped.yaml" rollcall-sync-worker || status=$?
  [ "$status" != 0 ] || fail "the worker starts without a schema"
  tail -n 1 "$state/once.log"

  replicas_begin
  (walk_through) >"$state/walk.log" 2>&1 || { show_pods; show_and_fail "$state/walk.log"; }
  tail -n 3 "$state/walk.log"
  renew_at_login

  # The CronJob: exactly its container, when something is due and when nothing is.
  sql 'UPDATE user_syncs SET next_run_time = 1'
  status=0
  run_once "$state/postgres.yaml" rollcall-trigger-due || status=$?
  cat "$state/once.log"
  [ "$status" = 0 ] || fail "the CronJob's container ended with $status"
  [ "$(grep -c SUCCEEDED "$state/once.log")" = 2 ] || fail "the CronJob's container did not run the two that were due"
  run_once "$state/postgres.yaml" rollcall-trigger-due || fail "the CronJob's container fails when nothing is due"
  [ ! -s "$state/once.log" ] || fail "the CronJob's container ran what was not due"

  # Nobody without a token.
  if command grpcurl -cacert "$state/ca.pem" -d '{}' "$worker" rollcall.v1.TenantService/ListTenants 2>"$state/refused"; then
    fail "a stranger is let in"
  fi
  grep -q Unauthenticated "$state/refused" || show_and_fail "$state/refused"

  # Backed up while they work, and restored after more has happened.
  pg_dump --format custom --file "$state/backup.dump" "$database_url"
  later_begins
  replicas_end
  pg_restore --clean --if-exists --dbname "$database_url" "$state/backup.dump"
  replicas_play
  later_is_gone
  replicas_end
  echo "the pods with PostgreSQL: a whole walk-through over TLS, a renewal, the CronJob, a backup and its restoration"
}
