# shellcheck shell=bash
# shellcheck disable=SC2154 # run and the other parts set the rest
# The alerts and the dashboard: checked, and looked at by a real Prometheus while the pods work. To be sourced.

prometheus=127.0.0.1:9090

test_rules() {
  promtool check rules deploy/observability/rollcall.rules.yaml
  promtool test rules deploy/observability/rollcall.rules.test.yaml
  "$here/alerts" check
}

start_prometheus() {
  mkdir -p "$state/prometheus"
  # Alerts that wait for an hour would make the test wait too; the waiting itself is tested by promtool.
  "$here/alerts" impatient "$state/prometheus/rules.yaml"
  cat >"$state/prometheus/prometheus.yaml" <<YAML
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: rollcall
    static_configs: [{targets: ["127.0.0.1:8081", "127.0.0.1:8082"]}]
YAML
  promtool check config "$state/prometheus/prometheus.yaml" >/dev/null
  start_process prometheus prometheus --config.file "$state/prometheus/prometheus.yaml" --storage.tsdb.path "$state/prometheus/data" \
    --web.listen-address "$prometheus" --log.level warn
  wait_until prometheus 30 curl -sf "http://$prometheus/-/ready" || show_and_fail "$state/prometheus.log"
}

# asked QUERY: what Prometheus answers, as JSON.
asked() {
  curl -sf "http://$prometheus/api/v1/query" --data-urlencode "query=$1"
}

# has_samples QUERY: at least one, and not only "no number".
has_samples() {
  asked "$1" | jq -e '[.data.result[].value[1] | select(. != "NaN")] | length > 0'
}

# fires ALERT / is_quiet ALERT
fires() {
  asked "ALERTS{alertname=\"$1\",alertstate=\"firing\"}" | jq -e '.data.result | length > 0'
}

is_quiet() {
  asked "ALERTS{alertname=\"$1\"}" | jq -e '.data.result | length == 0'
}

# is_scraped NUMBER: of so many processes the last answer came, and it was theirs.
is_scraped() {
  asked 'sum(up and on (instance) rollcall_build)' | jq -e ".data.result[0].value[1] == \"$1\""
}

# logins LOGIN PASSWORD TIMES
logins() {
  local time
  for ((time = 0; time < $3; time++)); do
    authenticate "\"tenant\": \"$tenant\", \"login\": \"$1\", \"password\": \"$2\"" >/dev/null
  done
}

# Every kind of thing that the dashboard shows, once.
work() {
  (walk_through) >"$state/walk.log" 2>&1 || { show_pods; show_and_fail "$state/walk.log"; }
  # A consumer of the feed while a user changes; a renewal at a login is such a change.
  command grpcurl -max-time 8 -cacert "$call_ca" -H "authorization: Bearer $(token_of product)" \
    -d "{\"parent\": \"$tenant\"}" "$gateway" rollcall.v1.UserService/WatchUserEvents >/dev/null 2>&1 &
  local watching=$!
  eventually 10 has_samples 'sum(rollcall_user_event_watchers) > 0' || fail "a consumer of the feed is not counted"
  renew_at_login
  # Wrong until the soft lock refuses.
  logins zofia.stastny wrong-1 2
  logins anna.weaver Aurora-anna.weaver 10
  logins nobody.at.all wrong 1
  local number
  for number in 1 2 3 4 5; do logins nuria.puigdomenech "wrong-$number" 1; done
  # One that is no caller's.
  command grpcurl -cacert "$call_ca" -d '{}' "$worker" rollcall.v1.TenantService/ListTenants >/dev/null 2>&1 || true
  wait "$watching" || true
}

# all_queries: whether each query of the dashboard has samples; those that have none stay in $state/empty.
all_queries() {
  local line
  : >"$state/empty"
  while read -r line; do
    has_samples "$(jq -r .query <<<"$line")" >/dev/null || jq -r '"\(.title): \(.query)"' <<<"$line" >>"$state/empty"
  done < <("$here/alerts" queries 10m)
  [ ! -s "$state/empty" ]
}

test_observability() {
  start_prometheus
  replicas_begin
  eventually 20 is_scraped 2 || fail "the services are not scraped"
  work
  eventually 60 all_queries || show_and_fail "$state/empty"
  echo "every query of the dashboard has samples: $("$here/alerts" queries 10m | wc -l)"

  # Nothing is wrong so far.
  local alert number
  for alert in RollcallDirectoryUnreachable RollcallUserSyncStale RollcallUserSyncsLate RollcallWorkersIdle RollcallRunHeld \
    RollcallAuditCannotCommit RollcallNotReady RollcallFiguresOld; do
    is_quiet "$alert" >/dev/null || fail "$alert fires while all is well"
  done
  # A user sync that nobody ran for days, since the CronJob does not come.
  sql "UPDATE user_syncs SET next_run_time = (extract(epoch from now()) - 7300) * 1000000,
    last_complete_pull_time = (extract(epoch from now()) - 4 * 86400) * 1000000"
  for alert in RollcallUserSyncsLate RollcallUserSyncStale RollcallWorkersIdle; do
    eventually 60 fires "$alert" || fail "$alert does not fire"
  done
  # A directory that is gone.
  stop_process slapd >/dev/null
  for number in 1 2 3 4 5 6; do
    (logins anna.weaver Aurora-anna.weaver 1) >/dev/null 2>&1 || true
  done
  eventually 60 fires RollcallDirectoryUnreachable || fail "RollcallDirectoryUnreachable does not fire"
  curl -sf "http://$prometheus/api/v1/alerts" |
    jq -r '.data.alerts | sort_by(.labels.alertname)[] | "\(.state) \(.labels.severity) \(.labels.alertname): \(.annotations.summary)"'
  serve_directory || fail "slapd does not come back"
  replicas_end
  stop_process prometheus >/dev/null
  echo "the dashboard's queries and the alerts, asked of a real Prometheus"
}

# Draws docs/dashboard.svg: several minutes of logins by several callers, runs, a bind password that is changed, an outage of the
# directory and a run that is held. Takes ROLLCALL_PICTURE_MINUTES (8) and about two more to build the image and start. Not among the
# parts that run by themselves.
test_picture() {
  local minutes=${ROLLCALL_PICTURE_MINUTES:-8} caller end watching
  local -a callers=()
  start_prometheus
  replicas_begin
  eventually 20 is_scraped 2 || fail "the services are not scraped"
  work
  command grpcurl -max-time "$((minutes * 60))" -cacert "$call_ca" -H "authorization: Bearer $(token_of product)" \
    -d "{\"parent\": \"$tenant\"}" "$gateway" rollcall.v1.UserService/WatchUserEvents >/dev/null 2>&1 &
  watching=$!
  end=$((SECONDS + minutes * 60))
  for caller in 1 2 3 4; do
    caller "$caller" "$end" &
    callers+=($!)
  done
  sleep "$((minutes * 20))"
  night
  change_bind_password
  stop_process slapd
  sleep 25
  serve_directory
  sleep "$((minutes * 10))"
  # Half of the contractors are gone: somebody has to look.
  directory_tool ldapsearch "$directory_admin" "$state/slapd/admin-password" -LLL -o ldif-wrap=no -b "ou=Contractors,$directory_base" \
    '(uid=*)' dn | sed -n 's/^dn: //p' | head -n 12 >"$state/leavers"
  directory_tool ldapdelete "$directory_admin" "$state/slapd/admin-password" -f "$state/leavers"
  night
  wait "${callers[@]}" || true
  kill "$watching" 2>/dev/null || true
  deploy/observability/picture "$prometheus" "$((minutes + 1))" >docs/dashboard.svg
  replicas_end
  stop_process prometheus >/dev/null
}

# change_bind_password: kept as pending before the directory gets it.
change_bind_password() {
  local next
  next=$(random_password)
  call "$worker" DirectoryService/RotateBindPassword \
    "{\"name\": \"$directory\", \"bind_password\": \"$next\", \"pending\": true}" >/dev/null
  printf 'dn: %s\nchangetype: modify\nreplace: userPassword\nuserPassword: %s\n' "$directory_account" "$next" >"$state/change.ldif"
  directory_tool ldapmodify "$directory_admin" "$state/slapd/admin-password" -f "$state/change.ldif" >/dev/null
  printf '%s' "$next" >"$state/bind-password"
}

# night: what the CronJob does when everything is due. A run that is held ends it with 2, and one without a directory with 1.
night() {
  sql 'UPDATE user_syncs SET next_run_time = 1'
  run_once "$state/postgres.yaml" rollcall-trigger-due || true
  cat "$state/once.log"
}

# caller NUMBER END: logs people in one after the other, one in eight with a wrong password, until the second END.
caller() {
  local logins=(anna.weaver zoe.angstrom bjorn.petrovic lucja.goncalves soren.benardmuller francois.lefevre jurgen.ozturk dorde.muller)
  local number=$1 login password
  while [ "$SECONDS" -lt "$2" ]; do
    number=$((number + 1))
    login=${logins[number % ${#logins[@]}]}
    password=Aurora-$login
    [ "$((number % 8))" != 0 ] || { login=nobody.$number password=wrong; }
    (logins "$login" "$password" 1) >/dev/null 2>&1 || true
  done
}
