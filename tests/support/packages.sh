#!/usr/bin/env bash
# Owns which Debian packages the bench needs, and gets those that are missing.

# command:package. A command that is there counts, wherever it came from.
BENCH_COMMANDS=(debootstrap:debootstrap sudo:sudo git:git setpriv:util-linux column:bsdextrautils
  ps:procps openssl:openssl xargs:findutils flock:util-linux mkfs.ext4:e2fsprogs losetup:mount perl:perl-base
  curl:curl strace:strace gpg:gnupg ssh-keygen:openssh-client xz:xz-utils bzip2:bzip2 zstd:zstd)
BENCH_PACKAGES=(ca-certificates debian-archive-keyring)

missing_packages() {
  local pair package
  # A client alone will do where a daemon already answers it.
  if ! command -v docker >/dev/null || { ! command -v dockerd >/dev/null && ! docker_answers; }; then
    echo docker.io
  fi
  for pair in "${BENCH_COMMANDS[@]}"; do
    command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
  done
  for package in "${BENCH_PACKAGES[@]}"; do
    [[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" == installed ]] || echo "$package"
  done
}

ensure_packages() {
  local missing
  mapfile -t missing < <(missing_packages | sort -u)
  ((${#missing[@]})) || return 0
  say "Installing ${missing[*]}"
  timed "Packages" apt_install "${missing[@]}" || give_up "apt-get could not install: ${missing[*]}"
}

apt_install() {
  local log status=0
  log="$(mktemp)"
  {
    apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get install -qq -y --no-install-recommends "$@"
  } >"$log" 2>&1 9>&- || status=$?
  # Its chatter is only worth reading when it fails.
  if ((status)); then
    tail -n 12 "$log" >&2
  fi
  rm -f "$log"
  return "$status"
}
