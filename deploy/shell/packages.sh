# shellcheck shell=bash
# Installs what the scripts need, and says what it does. To be sourced.

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/target/tools
grpcurl_version=v1.9.4
buf_version=1.75.0
h2spec_version=v2.2.1+incompatible
export PATH="$tools/bin:$PATH:/usr/sbin:/sbin"

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages PACKAGE...: by apt, without letting any of them start a service of its own.
install_packages() {
  if ! command -v apt-get >/dev/null; then
    echo "error: install what Debian calls: $*" >&2
    return 1
  fi
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    echo "error: as root, run: apt-get install $*" >&2
    return 1
  fi
  echo "installing: $*"
  local policy=/usr/sbin/policy-rc.d made_policy='' status=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    made_policy=yes
  fi
  # A first big install may fail once while unpacking.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 update -q &&
    { apt_install "$@" || apt_install "$@"; } || status=$?
  if [ -n "$made_policy" ]; then as_root rm -f "$policy"; fi
  return "$status"
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -q -y --no-install-recommends "$@"
}

# missing_packages: which Debian packages are not there, of those that tests and quickstart both need.
missing_packages() {
  command -v slapd >/dev/null || echo slapd
  command -v ldapsearch >/dev/null || echo ldap-utils
  command -v jq >/dev/null || echo jq
  command -v cc >/dev/null || echo gcc libc6-dev
}

# find_or_install_with_go COMMAND PACKAGE VERSION: status 1 when there is neither the command nor Go.
find_or_install_with_go() {
  command -v "$1" >/dev/null && return 0
  local go
  go=$(command -v go || ls /usr/local/go/bin/go 2>/dev/null) || return 1
  if [ -x "$("$go" env GOPATH)/bin/$1" ]; then
    PATH="$PATH:$("$go" env GOPATH)/bin"
    return 0
  fi
  echo "installing: $1 $3"
  GOBIN="$tools/bin" "$go" install "$2@$3"
}

find_or_install_grpcurl() {
  find_or_install_with_go grpcurl github.com/fullstorydev/grpcurl/cmd/grpcurl "$grpcurl_version"
}

find_or_install_h2spec() {
  find_or_install_with_go h2spec github.com/summerwind/h2spec/cmd/h2spec "$h2spec_version"
}

# install_buf: into $tools/node_modules/.bin; status 1 when there is no npm.
install_buf() {
  [ "$("$tools/node_modules/.bin/buf" --version 2>/dev/null)" = "$buf_version" ] && return 0
  command -v npm >/dev/null || return 1
  echo "installing: buf $buf_version"
  npm install --silent --no-fund --no-audit --prefix "$tools" "@bufbuild/buf@$buf_version"
}
