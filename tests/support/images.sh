#!/usr/bin/env bash
# Owns the images postgres:<major> and postgres:<major>-alpine: already there, pulled when a registry answers, else built
# from Debian's packages, or from their sources for musl.

IMAGE_FOLDER="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/postgres-image"
IMAGE_LABEL='com.pgbackup.built-from'

# The Debian suites that have a major version, in the order to try.
image_suites() {
  case "$1" in
    13) echo bullseye ;;
    15) echo bookworm ;;
    17) echo trixie ;;
    # 18 is in no stable suite yet; testing breaks less often than unstable.
    18) echo forky sid ;;
  esac
}

ensure_image() {
  local major="$1" suite
  docker image inspect "postgres:$major" >/dev/null 2>&1 && return 0
  if pull_image "$major"; then
    return 0
  fi
  for suite in $(image_suites "${major%-alpine}"); do
    build_image "$major" "$suite" && return 0
    say_loud "postgres:$major could not be built from Debian $suite"
  done
  return 1
}

# In its own process: whatever fails in there must end here as one line, with nothing left behind.
build_image() {
  local major="$1" suite="$2"
  if [[ "$major" == *-alpine ]]; then
    say "Compiling what stands for postgres:$major from the sources of Debian $suite (about ten minutes)"
    timed "postgres:$major" "$BASH" "$IMAGE_FOLDER/build-musl" "${major%-alpine}" "$suite" "$IMAGE_LABEL"
  else
    say "Building postgres:$major from Debian $suite (about a minute)"
    timed "postgres:$major" "$BASH" "$IMAGE_FOLDER/build" "$major" "$suite" "$IMAGE_LABEL"
  fi
}

# A registry that cannot be reached must cost seconds, one that can may take its time for the layers.
pull_image() {
  local major="$1"
  timeout 8 docker manifest inspect "postgres:$major" >/dev/null 2>&1 || return 1
  say "Pulling postgres:$major"
  timed "postgres:$major" docker pull --quiet "postgres:$major"
}
