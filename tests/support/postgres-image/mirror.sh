#!/usr/bin/env bash
# Owns where the images' Debian packages come from: the mirror that this machine's own apt uses.

# Prints "uri suite…" for each binary source of apt, both file formats.
apt_sources() {
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [[ -f "$file" ]] && one_line_sources <"$file"
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    [[ -f "$file" ]] && deb822_sources <"$file"
  done
  return 0
}

# deb [options] uri suite component…
one_line_sources() { sed -nE 's/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+)[[:space:]]+([^[:space:]]+).*/\2 \3/p'; }

deb822_sources() {
  awk '
    function flush() {
      if (types ~ /(^| )deb( |$)/ && enabled != "no") {
        count = split(uris, each, " ")
        for (i = 1; i <= count; i++) print each[i], suites
      }
      types = uris = suites = enabled = ""
    }
    /^[[:space:]]*$/ { flush(); next }
    /^#/ { next }
    /^[^[:space:]][^:]*:/ {
      field = tolower($0); sub(/:.*/, "", field)
      value = $0; sub(/^[^:]*:[[:space:]]*/, "", value)
    }
    /^[[:space:]]/ { value = value " " $0 }
    field == "types" { types = value }
    field == "uris" { uris = value }
    field == "suites" { suites = value }
    field == "enabled" { enabled = value }
    END { flush() }'
}

# The source that has this machine's own suite is the full archive; those of updates and of other vendors are not.
# Prints nothing when there is none that debootstrap can use: it then takes its own default.
debian_mirror() {
  local id='' codename='' uri suites
  # shellcheck source=/dev/null
  id="$(. /etc/os-release && echo "$ID")" codename="$(. /etc/os-release && echo "$VERSION_CODENAME")"
  [[ "$id" == debian ]] || return 0
  while read -r uri suites; do
    [[ " $suites " == *" ${codename:-stable} "* || " $suites " == *" stable "* ]] || continue
    case "$uri" in
      # apt's list of mirrors, as cloud images have it: the first will do.
      mirror+file:*) uri="$(awk '!/^#/ && NF { print $1; exit }' "${uri#mirror+file:}" 2>/dev/null || true)" ;;
    esac
    case "$uri" in
      http://* | https://*)
        echo "${uri%/}"
        return 0
        ;;
    esac
  done < <(apt_sources)
}

# apt's proxy is for debootstrap too, which only knows the environment.
use_apt_proxy() {
  local proxy=''
  [[ -z "$http_proxy" ]] || return 0
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  if [[ -n "$proxy" && "$proxy" != DIRECT ]]; then
    export http_proxy="$proxy"
  fi
}
