# shellcheck shell=bash
# shellcheck disable=SC2154 # directory.sh sets ldaps_port and directory_account
# What a new customer does, call by call. Each call is shown as it could be typed. To be sourced, with $state,
# $gateway, $worker and $gateway_health set.

: "${state:?}" "${gateway:?}" "${worker:?}" "${gateway_health:?}"

tenant=tenants/aurora
directory=$tenant/directories/headquarters

walk_through() {
  say "1. A tenant: a customer of the product, with the add-on switched on"
  call "$worker" TenantService/CreateTenant '{
  "tenant_id": "aurora",
  "tenant": {
    "display_name": "Aurora Instruments",
    "user_sync_enabled": true,
    "verified_domains": ["aurora.example"]
  }
}'

  say "2. Its directory: where it is, whom to trust, and the read-only account to search with"
  create_directory

  say "3. Does the connection hold? Every step is tried, from the name to the rights of the account"
  call "$worker" DirectoryService/CheckConnection "{\"parent\": \"$tenant\", \"directory\": \"$directory\"}" "$stages"
  expect '.report.outcome | IN("CHECK_OUTCOME_PASS", "CHECK_OUTCOME_WARN")'

  say "4. Two user syncs on that directory: the employees, and the contractors in another role"
  create_user_sync employees Employees ou=People user
  create_user_sync contractors Contractors ou=Contractors contractor

  say "5. Does the user sync make sense? The same steps, then what it would make of some entries"
  call "$worker" UserSyncService/CheckUserSync "{
  \"parent\": \"$tenant\",
  \"user_sync\": \"$tenant/userSyncs/employees\",
  \"sample_size\": 3
}" "($stages), (.samples[] | {dn, login: .user.login, email: .user.email, role: .user.role, issues})"
  expect '.report.outcome | IN("CHECK_OUTCOME_PASS", "CHECK_OUTCOME_WARN")'

  say "6. A preview: what would happen? Nothing is changed"
  call "$worker" UserSyncService/RunUserSync "{
  \"name\": \"$tenant/userSyncs/employees\",
  \"mode\": \"SYNC_RUN_MODE_PREVIEW\"
}" '{name, mode, state}'
  local run
  run=$(jq -r .name <<<"$answer")
  watch_run "$run"
  expect '.state == "SYNC_RUN_STATE_PLANNED"'
  call "$worker" SyncRunService/ListSyncRunChanges "{\"parent\": \"$run\", \"page_size\": 3}" \
    '.changes[] | {type, dn, changes: (.fieldChanges | map({(.field): .newValue}) | add)}'
  call "$worker" SyncRunService/ListSyncRunIssues "{\"parent\": \"$run\"}" \
    '.issues[] | {type, dn, message, hint}'
  expect '.issues | length > 0'

  say "7. Go: exactly the plan that was shown; then the contractors in one step"
  call "$worker" SyncRunService/ApplySyncRun "{\"name\": \"$run\"}" '{name, state}'
  watch_run "$run"
  expect '.state == "SYNC_RUN_STATE_SUCCEEDED_WITH_ISSUES"'
  call "$worker" UserSyncService/RunUserSync "{
  \"name\": \"$tenant/userSyncs/contractors\",
  \"mode\": \"SYNC_RUN_MODE_APPLY\"
}" '{name, mode, state}'
  watch_run "$(jq -r .name <<<"$answer")"
  expect '.state == "SYNC_RUN_STATE_SUCCEEDED"'
  note "What would another run do? Nobody changed, so it would write nothing."
  call "$worker" UserSyncService/RunUserSync "{
  \"name\": \"$tenant/userSyncs/contractors\",
  \"mode\": \"SYNC_RUN_MODE_PREVIEW\"
}" '{name, mode, state}'
  watch_run "$(jq -r .name <<<"$answer")"
  expect '.state == "SYNC_RUN_STATE_PLANNED" and .counts.applied == null and .counts.unchanged == .counts.entries'

  say "8. The users, now in the product's own store"
  call "$gateway" UserService/ListUsers "{\"parent\": \"$tenant\", \"page_size\": 1000}" \
    '{users: (.users | length), roles: (.users | group_by(.role) | map({(.[0].role): length}) | add)}'
  expect '.users | length > 190'
  call "$gateway" UserService/LookupUser "{\"parent\": \"$tenant\", \"identifier\": \"anna.weaver\"}" \
    '{name, userSync, dn, login, email, role, state}'

  say "9. Logins: the password is proven by the customer's own directory, and stored nowhere"
  authenticate "\"tenant\": \"$tenant\", \"login\": \"anna.weaver\", \"password\": \"Aurora-anna.weaver\""
  expect '.authenticated.user.login == "anna.weaver"'
  note "By e-mail address, without the tenant, since the domain is proven to be Aurora's:"
  authenticate '"login": "anna.weaver@aurora.example", "password": "Aurora-anna.weaver"'
  expect '.authenticated.user.login == "anna.weaver"'
  note "With a wrong password:"
  authenticate "\"tenant\": \"$tenant\", \"login\": \"anna.weaver\", \"password\": \"not-the-password\""
  expect '.denial.reason == "DENIAL_REASON_INVALID_CREDENTIALS"'
  note "The right password of an account that is locked in the directory:"
  authenticate "\"tenant\": \"$tenant\", \"login\": \"umit.gross\", \"password\": \"Aurora-umit.gross\""
  expect '.denial.reason == "DENIAL_REASON_INVALID_CREDENTIALS"'

  say "10. What the gateway counted meanwhile, for Prometheus (docs/metrics.md)"
  show "curl -s http://$gateway_health/metrics | grep '^rollcall_logins_total' | grep -v ' 0$'"
  curl -s "http://$gateway_health/metrics" | grep '^rollcall_logins_total' | grep -v ' 0$' ||
    fail "the gateway counts no logins"
}

# Shows the stages of a check, one a line.
stages='.report.stages[] | "\(.outcome | ltrimstr("CHECK_OUTCOME_")) \(.kind | ltrimstr("CHECK_STAGE_KIND_"))\(
  if .subject then " [" + .subject + "]" else "" end): \(.message // "")\(
  if .hint then "  -> " + .hint else "" end)"'

# The secrets come from files, so that they are on no command line and in no terminal.
create_directory() {
  local request
  request=$(
    cat <<JQ
{
  parent: "$tenant",
  directory_id: "headquarters",
  directory: {
    display_name: "Headquarters",
    hosts: ["ldaps://localhost:$ldaps_port"],
    ca_certificates: \$ca,
    bind_dn: "$directory_account",
    bind_password: \$password
  }
}
JQ
  )
  show "jq -n --rawfile ca .rollcall/slapd/ca.pem --rawfile password .rollcall/bind-password '$request' |
  grpcurl -plaintext -d @ $worker rollcall.v1.DirectoryService/CreateDirectory"
  answer=$(
    jq -n --rawfile ca "$state/slapd/ca.pem" --rawfile password "$state/bind-password" "$request" |
      grpcurl -plaintext -max-time 30 -d @ "$worker" rollcall.v1.DirectoryService/CreateDirectory
  ) || fail "the call failed; see .rollcall/sync-worker.log"
  jq 'del(.caCertificates)' <<<"$answer"
}

# create_user_sync ID NAME BASE ROLE
create_user_sync() {
  call "$worker" UserSyncService/CreateUserSync "{
  \"parent\": \"$tenant\",
  \"user_sync_id\": \"$1\",
  \"user_sync\": {
    \"display_name\": \"$2\",
    \"directory\": \"$directory\",
    \"searches\": [{\"base_dn\": \"$3,dc=aurora,dc=example\", \"filter\": \"(objectClass=inetOrgPerson)\"}],
    \"role\": \"$4\",
    \"field_mappings\": {
      \"login\": [\"uid\"],
      \"email\": [\"mail\"],
      \"display_name\": [\"displayName\", \"{givenName} {sn}\"],
      \"given_name\": [\"givenName\"],
      \"family_name\": [\"sn\"],
      \"phone_number\": [\"telephoneNumber\"],
      \"custom\": {\"title\": {\"candidates\": [\"title\"]}}
    },
    \"missing_users\": \"MISSING_USER_POLICY_DEACTIVATE\",
    \"auto_sync\": true,
    \"schedule\": \"0 2 * * *\",
    \"time_zone\": \"Europe/Brussels\"
  }
}" '{name, displayName, role, nextRunTime, health}'
}

# watch_run NAME: until it rests; $answer is then the run.
watch_run() {
  call "$worker" SyncRunService/WatchSyncRun "{\"name\": \"$1\"}" -c '.syncRun | {state, counts}'
  answer=$(jq -s 'last.syncRun' <<<"$answer")
}

# authenticate FIELDS
authenticate() {
  call "$gateway" AuthService/Authenticate \
    "{$1, \"client_address\": \"192.0.2.7\", \"request_id\": \"$(cat /proc/sys/kernel/random/uuid)\"}"
}

# call ADDRESS METHOD REQUEST [JQ...]: shows a call and its answer, which stays in $answer.
call() {
  local address=$1 method=$2 request=$3
  shift 3
  local suffix=''
  if [ "$#" -gt 0 ]; then
    suffix=" |
  jq -r"
    local argument
    for argument in "$@"; do
      if [[ $argument = -* ]]; then suffix+=" $argument"; else suffix+=" '$argument'"; fi
    done
  fi
  show "grpcurl -plaintext -d '$request' \\
  $address rollcall.v1.$method$suffix"
  answer=$(grpcurl -plaintext -max-time 60 -d "$request" "$address" "rollcall.v1.$method") ||
    fail "the call failed; see the logs in .rollcall/"
  jq -r "${@:-.}" <<<"$answer"
}

# expect JQ: the newest answer must satisfy it.
expect() {
  jq -e "$1" <<<"$answer" >/dev/null || fail "not as it should be: $1 does not hold for $answer"
}

note() {
  printf '\n%s\n' "$1"
}

show() {
  if [ -t 1 ]; then printf '\n\033[1m$ %s\033[0m\n' "$1"; else printf '\n$ %s\n' "$1"; fi
}
