# shellcheck shell=bash
# shellcheck disable=SC2154 # run sets state, root and programs
# Podman and buildah in a place of their own, and the image. To be sourced.

image=localhost/rollcall:test

# crun refuses a machine with both versions of cgroups; without the limits podman asks for more than a container may have.
configure_containers() {
  ulimit -n 1024
  mkdir -p "$state/containers"
  export CONTAINERS_CONF=$state/containers/containers.conf CONTAINERS_STORAGE_CONF=$state/containers/storage.conf
  cat >"$CONTAINERS_CONF" <<TOML
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
TOML
  cat >"$CONTAINERS_STORAGE_CONF" <<TOML
[storage]
driver = "overlay"
graphroot = "$state/containers/graph"
runroot = "$state/containers/run"
TOML
}

end_containers() {
  if [ -d "$state/containers/graph" ]; then
    podman pod rm --all --force --time 1 >/dev/null 2>&1 || true
    podman rm --all --force --time 1 >/dev/null 2>&1 || true
    podman volume rm --all --force >/dev/null 2>&1 || true
    umount -R "$state/containers/graph" 2>/dev/null || true
  fi
}

# need_image: builds it from the programs that were built already, once.
need_image() {
  [ ! -e "$state/image.log" ] || return 0
  deploy/image/collect "$programs" "$state/image"
  buildah bud --isolation chroot --file deploy/image/Dockerfile --build-context "binaries=$state/image" \
    --build-arg "REVISION=$(git rev-parse HEAD)" --tag "$image" . >"$state/image.log" 2>&1 || show_and_fail "$state/image.log"
}

# in_image ARGUMENT...: as strictly as the manifests run it.
in_image() {
  podman run --rm --network host --read-only --cap-drop all --security-opt no-new-privileges "$@"
}

test_image() {
  need_image
  local program
  for program in auth-gateway sync-worker rollcallctl; do
    in_image "$image" "$program" --version
  done
  podman inspect "$image" >"$state/inspected.json"
  jq -e '.[0].Config | .User == "65532:65532" and .Labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    and (.Labels["org.opencontainers.image.revision"] | length == 40)' "$state/inspected.json" >/dev/null ||
    fail "the image has not the user or the labels that it should"
  jq -r '.[0].Config.Labels | to_entries[] | "\(.key)=\(.value)"' "$state/inspected.json"

  # No shell, nothing that is set-uid, nothing that anybody may write but /tmp, which stays empty.
  local content=$state/image/files
  [ -z "$(find "$content" \( -name '*sh' -o -name busybox \) -type f -path '*/bin/*')" ] || fail "the image has a shell"
  [ -z "$(find "$content" -perm /6000)" ] || fail "something in the image is set-uid"
  find "$content" -type f -printf '%P\n' | sort
  if in_image "$image" /bin/sh -c true 2>/dev/null; then fail "a shell runs in the image"; fi

  # Each crate of the lock file that is compiled into the programs is in the bill of materials.
  local bill=$content/usr/share/doc/rollcall/sbom.cdx.json name
  jq -e '.bomFormat == "CycloneDX" and (.components | length > 200) and all(.components[]; .purl and .version)' "$bill" >/dev/null ||
    fail "the bill of materials is not one"
  for name in tokio rustls sea-orm ldap3 libc6; do
    jq -e --arg name "$name" 'any(.components[]; .name == $name)' "$bill" >/dev/null || fail "$name is not in the bill of materials"
  done
  if jq -e 'any(.components[]; .name == "proptest" or .name == "rollcall-testkit")' "$bill" >/dev/null; then
    fail "the bill of materials names what only tests use"
  fi
  echo "bill of materials: $(jq '.components | length' "$bill") components"

  # The release that compiles in the Dockerfile is by the compiler that everything here is tested with.
  local compiler
  compiler=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
  grep -q "^ARG RUST_VERSION=$compiler\$" deploy/image/Dockerfile || fail "the Dockerfile compiles with another Rust than $compiler"
  # Program, image, chart and change log are of one release.
  local version file
  version=$(in_image "$image" sync-worker --version | cut -d' ' -f2)
  for file in "deploy/image/Dockerfile:ARG VERSION=$version" "deploy/helm/rollcall/Chart.yaml:version: $version" \
    "deploy/helm/rollcall/Chart.yaml:appVersion: $version" "CHANGELOG.md:## $version"; do
    grep -qE "^${file#*:}([, ]|\$)" "${file%%:*}" || fail "${file%%:*} is not of release $version"
  done

  in_image "$image" auth-gateway --check-config --set "keyring.key=k1 $(openssl rand -base64 32)"
  # A configuration with mistakes: all of them, and 64.
  local status=0
  in_image --env AUTH_GATEWAY__SERVER__LISTEN=nowhere --env AUTH_GATEWAY__LOGIN__TIMEOUT=never "$image" auth-gateway --check-config \
    >"$state/mistakes" 2>&1 || status=$?
  cat "$state/mistakes"
  [ "$status" = 64 ] || fail "mistakes in the configuration end with $status"
  local mistake
  for mistake in AUTH_GATEWAY__SERVER__LISTEN AUTH_GATEWAY__LOGIN__TIMEOUT; do
    grep -q "$mistake" "$state/mistakes" || fail "$mistake is a mistake that is not told"
  done
}
