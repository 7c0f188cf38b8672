# shellcheck shell=bash
# shellcheck disable=SC2154 # run and the quickstart's parts set state, root and directory_base
# What Rollcall needs around it: names, certificates, tokens, a keyring, PostgreSQL and a directory. To be sourced.

secrets=$state/secrets

# Names of services are loopback here, on this side of the mount namespace and in containers, which copy the file.
name_loopback() {
  printf '127.0.0.1 localhost rollcall-auth-gateway rollcall-sync-worker auth-gateway sync-worker database\n' >"$state/hosts"
  chmod 644 "$state/hosts"
  mount --bind "$state/hosts" /etc/hosts
}

start_world() {
  mkdir -p "$secrets"/rollcall-{database,keyring,tokens}
  issue_certificates
  printf 'k1 %s\n' "$(openssl rand -base64 32)" >"$secrets/rollcall-keyring/keyring"
  local name
  for name in gateway cronjob product back-office; do openssl rand -hex 32 | tr -d '\n' >"$secrets/rollcall-tokens/$name"; done
  umask 077
  start_directory
  umask 022
  start_database
}

# One authority, a certificate for each service: tls.crt, tls.key and ca.crt, as cert-manager writes them.
issue_certificates() {
  local name dir
  local -a key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
  openssl req -x509 "${key[@]}" -keyout "$state/ca.key" -out "$state/ca.pem" -days 30 -subj "/CN=Platform CA" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
  for name in auth-gateway sync-worker; do
    dir=$secrets/rollcall-$name-tls
    mkdir -p "$dir"
    openssl req "${key[@]}" -keyout "$dir/tls.key" -out "$state/$name.csr" -subj "/CN=$name" 2>/dev/null
    openssl x509 -req -in "$state/$name.csr" -CA "$state/ca.pem" -CAkey "$state/ca.key" -days 30 -out "$dir/tls.crt" \
      -extfile <(printf 'subjectAltName=DNS:rollcall-%s,DNS:%s,DNS:localhost\nextendedKeyUsage=serverAuth\n' "$name" "$name") 2>/dev/null
    cp "$state/ca.pem" "$dir/ca.crt"
  done
}

# hash_of NAME: of a token, as the configuration wants it.
hash_of() {
  sha256sum <"$secrets/rollcall-tokens/$1" | cut -d' ' -f1
}

start_database() {
  local dir=$state/postgres bin password
  bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
  password=$(openssl rand -hex 16)
  mkdir "$dir"
  printf '%s' "$password" >"$dir/password"
  chown -R postgres:postgres "$dir"
  runuser -u postgres -- "$bin/initdb" --pgdata "$dir/data" --username rollcall --pwfile "$dir/password" --auth scram-sha-256 \
    --no-sync >"$dir/log" 2>&1 || show_and_fail "$dir/log"
  runuser -u postgres -- "$bin/pg_ctl" --pgdata "$dir/data" --log "$dir/server.log" --wait \
    -o "-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off" start >/dev/null || show_and_fail "$dir/server.log"
  database_url=postgres://rollcall:$password@database/postgres
  printf '%s' "$database_url" >"$secrets/rollcall-database/url"
}

stop_database() {
  local pid
  pid=$(head -n 1 "$state/postgres/data/postmaster.pid" 2>/dev/null) || return 0
  kill -INT "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
}

# sql STATEMENT: on the database that start_database made.
sql() {
  psql --no-psqlrc --quiet --tuples-only --no-align "$database_url" -c "$1"
}

# empty_database: for the next that needs one.
empty_database() {
  sql 'DROP SCHEMA public CASCADE; CREATE SCHEMA public' 2>/dev/null
}

# call_by plaintext|tls GATEWAY WORKER [CA TOKEN]: how and where the services that run just now are called. TOKEN is a command that
# prints the token of a caller.
call_by() {
  # shellcheck disable=SC2034 # the walk-through reads the addresses
  call_with=$1 gateway=$2 worker=$3
  call_ca=${4:-} call_token=${5:-}
}

# token_of NAME: of a caller, as the manifests' secrets have it.
token_of() {
  cat "$secrets/rollcall-tokens/$1"
}

# The walk-through calls grpcurl without TLS; this stands in between.
grpcurl() {
  if [ "$call_with" = plaintext ] || [ "${1:-}" != -plaintext ]; then
    command grpcurl "$@"
    return
  fi
  shift
  local caller=back-office
  [[ " $* " != *" $gateway "* ]] || caller=product
  command grpcurl -cacert "$call_ca" -H "authorization: Bearer $("$call_token" "$caller")" "$@"
}

# renew_at_login: a login that finds its entry changed has the worker renew the user, so that the gateway's endpoint, authority and
# token for the worker are right.
renew_at_login() {
  call "$gateway" UserService/LookupUser "{\"parent\": \"$tenant\", \"identifier\": \"anna.weaver\"}" >/dev/null
  local name="Anna $RANDOM"
  printf 'dn: %s\nchangetype: modify\nreplace: displayName\ndisplayName: %s\n' "$(jq -r .dn <<<"$answer")" "$name" >"$state/change.ldif"
  directory_tool ldapmodify "$directory_admin" "$state/slapd/admin-password" -f "$state/change.ldif" >/dev/null
  authenticate "\"tenant\": \"$tenant\", \"login\": \"anna.weaver\", \"password\": \"Aurora-anna.weaver\"" >/dev/null
  expect ".authenticated.user.displayName == \"$name\""
}

# later_begins: something happens after a backup. later_is_gone: after its restoration it did not, and what was there before is.
later_begins() {
  call "$worker" TenantService/CreateTenant '{"tenant_id": "later", "tenant": {"display_name": "Later"}}' >/dev/null
}

later_is_gone() {
  if (call "$worker" TenantService/GetTenant '{"name": "tenants/later"}') >/dev/null 2>&1; then
    fail "the database is not the one that was backed up"
  fi
  authenticate "\"tenant\": \"$tenant\", \"login\": \"anna.weaver\", \"password\": \"Aurora-anna.weaver\"" >/dev/null
  expect '.authenticated.user.login == "anna.weaver"'
}

# eventually SECONDS COMMAND...: until it succeeds.
eventually() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}
