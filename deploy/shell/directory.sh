# shellcheck shell=bash
# A private OpenLDAP server with the sample company, for trying Rollcall out. To be sourced, with $root and
# $state set and processes.sh loaded.

: "${root:?}" "${state:?}"

directory_base=dc=aurora,dc=example
directory_account=cn=rollcall,ou=Services,$directory_base
directory_admin=cn=admin,$directory_base

# start_directory: sets $ldap_port and $ldaps_port.
start_directory() {
  local dir=$state/slapd
  mkdir -p "$dir/slapd.d" "$dir/data"
  make_certificates "$dir"
  random_password >"$state/bind-password"
  random_password >"$dir/admin-password"
  write_directory_config "$dir"
  slaptest -n 0 -f "$dir/slapd.conf" -F "$dir/slapd.d" >"$dir/load.log" 2>&1 || show_and_fail "$dir/load.log"
  {
    cat "$root/deploy/company/company.ldif"
    service_account
  } | slapadd -q -n 1 -F "$dir/slapd.d" >>"$dir/load.log" 2>&1 || show_and_fail "$dir/load.log"

  local attempt
  for attempt in 1 2 3 4 5; do
    ldap_port=$(free_port)
    ldaps_port=$(free_port)
    if serve_directory; then
      printf '%s %s\n' "$ldap_port" "$ldaps_port" >"$state/slapd.ports"
      # The server fills memberOf only for groups that are added while it runs.
      directory_tool ldapadd "$directory_admin" "$dir/admin-password" \
        -f "$root/deploy/company/groups.ldif" >"$dir/load.log" 2>&1 || show_and_fail "$dir/load.log"
      return
    fi
    stop_process slapd >/dev/null
    echo "slapd did not start on port $ldap_port (attempt $attempt)" >&2
  done
  show_and_fail "$state/slapd.log"
}

# serve_directory: starts the server on its ports, again if it was stopped.
serve_directory() {
  start_process slapd slapd -F "$state/slapd/slapd.d" -d none \
    -h "ldap://127.0.0.1:$ldap_port/ ldaps://127.0.0.1:$ldaps_port/"
  # Our account's password proves that it is this server that answers on the port.
  wait_until slapd 20 directory_tool ldapwhoami "$directory_account" "$state/bind-password"
}

# directory_tool TOOL DN PASSWORD_FILE ARGUMENTS...: one of the ldap-utils, over TLS.
directory_tool() {
  local tool=$1 dn=$2 password_file=$3
  shift 3
  LDAPTLS_CACERT=$state/slapd/ca.pem LDAPTLS_REQCERT=demand \
    "$tool" -x -H "ldaps://127.0.0.1:$ldaps_port" -D "$dn" -y "$password_file" "$@"
}

write_directory_config() {
  local dir=$1 schema=/etc/ldap/schema
  cat >"$dir/slapd.conf" <<CONF
include $schema/core.schema
include $schema/cosine.schema
include $schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
moduleload memberof
TLSCertificateFile $dir/server.pem
TLSCertificateKeyFile $dir/server.key
# No password crosses the wire in the clear.
security simple_bind=128
database mdb
suffix "$directory_base"
rootdn "$directory_admin"
rootpw $(slappasswd -n -T "$dir/admin-password")
directory $dir/data
maxsize 268435456
index objectClass,uid,mail,entryUUID,member eq
# The account for Rollcall reads everything but passwords and writes nothing.
access to attrs=userPassword by * auth
access to * by dn.exact="$directory_account" read by * none
overlay ppolicy
ppolicy_default "cn=default,ou=Policies,$directory_base"
ppolicy_use_lockout
overlay memberof
CONF
}

service_account() {
  cat <<LDIF

dn: ou=Services,$directory_base
objectClass: organizationalUnit
ou: Services

dn: $directory_account
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: rollcall
userPassword: $(slappasswd -n -T "$state/bind-password")
LDIF
}

make_certificates() {
  local dir=$1
  local -a key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
  {
    openssl req -x509 "${key[@]}" -keyout "$dir/ca.key" -out "$dir/ca.pem" -days 365 \
      -subj "/O=Aurora Instruments/CN=Aurora Instruments CA" -addext "keyUsage=critical,keyCertSign,cRLSign"
    openssl req "${key[@]}" -keyout "$dir/server.key" -out "$dir/server.csr" -subj "/CN=localhost"
    openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -days 365 -out "$dir/server.pem" \
      -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n')
  } >"$dir/openssl.log" 2>&1 || show_and_fail "$dir/openssl.log"
  # Nobody needs to sign with it again.
  rm -f "$dir/ca.key" "$dir/server.csr"
}

# Without a newline at the end, which would belong to the password.
random_password() {
  openssl rand -base64 33 | tr -d '\n'
}

# A port that nobody listens on just now; whoever takes it must be ready to find it taken.
free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)); do
    if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
}
