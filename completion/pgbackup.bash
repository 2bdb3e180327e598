#!/usr/bin/env bash
# Completes `dokku pgbackup:…` in bash: commands, services, backups, flags and settings. Everything else stays with dokku's
# own completion. To be sourced by interactive shells: docs/operations.md says how.

_dokku_pgbackup() {
  local line="${COMP_LINE:0:COMP_POINT}" words typed colon
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  typed="${words[-1]}"
  if [[ ${words[1]} != pgbackup* ]]; then
    if declare -F _dokku_complete >/dev/null; then _dokku_complete "$@"; fi
    return
  fi
  mapfile -t COMPREPLY < <(dokku --quiet pgbackup:complete "${words[@]:1}" 2>/dev/null </dev/null)
  # Where a colon ends a word, bash replaces only what stands behind it.
  if [[ $typed == *:* && $COMP_WORDBREAKS == *:* ]]; then
    colon="${typed%"${typed##*:}"}"
    COMPREPLY=("${COMPREPLY[@]#"$colon"}")
  fi
}

# bash loads this file of dokku's only where nothing completes `dokku` yet.
if ! declare -F _dokku_complete >/dev/null && [[ -r /usr/share/bash-completion/completions/dokku ]]; then
  # shellcheck source=/dev/null
  source /usr/share/bash-completion/completions/dokku
fi
complete -F _dokku_pgbackup dokku
