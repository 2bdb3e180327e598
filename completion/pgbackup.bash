#!/usr/bin/env bash
# Completes `dokku pgbackup:…` in bash: commands, services, backups, flags and settings. Everything else stays with dokku's
# own completion. To be sourced by interactive shells: docs/operations.md says how.

_dokku_pgbackup() {
  local line="${COMP_LINE:0:COMP_POINT}" words typed colon
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  typed="${words[-1]}"
  if [[ ${words[1]} != pgbackup* ]]; then
    _dokku_others "$@"
    return
  fi
  # For everybody else dokku calls sudo, which may ask for a password in the middle of the line.
  if ((EUID)) && [[ $USER != dokku ]] && ! sudo -n -u dokku true 2>/dev/null; then
    return
  fi
  mapfile -t COMPREPLY < <(dokku --quiet pgbackup:complete "${words[@]:1}" 2>/dev/null </dev/null)
  # Where a colon ends a word, bash replaces only what stands behind it.
  if [[ $typed == *:* && $COMP_WORDBREAKS == *:* ]]; then
    colon="${typed%"${typed##*:}"}"
    COMPREPLY=("${COMPREPLY[@]#"$colon"}")
  fi
}

# dokku's own completion, which bash loads only where nothing completes `dokku` yet. It asks for `have`, which bash-completion
# knows while it loads.
_dokku_others() {
  local own=/usr/share/bash-completion/completions/dokku
  if ! declare -F _dokku_complete >/dev/null && [[ -r $own ]]; then
    # shellcheck disable=SC2317
    have() { type "$1" >/dev/null 2>&1; }
    # shellcheck source=/dev/null
    source "$own" >/dev/null 2>&1
    unset -f have
    complete -F _dokku_pgbackup dokku
  fi
  if declare -F _dokku_complete >/dev/null; then _dokku_complete "$@"; fi
}

complete -F _dokku_pgbackup dokku
