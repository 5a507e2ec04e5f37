# shellcheck shell=bash
# Programs from Debian packages, for scripts/setup: installed as root or through sudo, or
# unpacked into .tools/tree without any rights and run through wrappers in .venv/bin.

tools="${root:?}/.tools"
tree="$tools/tree"
complete="$tools/complete"
lists=() # options that name our own package lists, once the system's are of no use

private_programs=(
  mariadb mariadb-admin mariadb-binlog mariadb-check mariadb-dump mariadb-install-db mariadbd
  my_print_defaults openssl resolveip
)

# The product looks on PATH, beside its Python, and in these two folders.
system_has() { PATH="${PATH//"$root/.venv/bin:"/}:/usr/sbin:/usr/local/sbin" type -P "$1" >/dev/null; }

# Print where program NAME lies in the private folder.
private_program() {
  local folder
  [ -e "$complete" ] || return
  for folder in usr/bin usr/sbin bin sbin; do
    if [ -x "$tree/$folder/$1" ]; then
      printf '%s\n' "$tree/$folder/$1"
      return
    fi
  done
  return 1
}

has() { system_has "$1" || private_program "$1" >/dev/null; }

# apt_install [SUDO…] -- PACKAGE…: never removes a package that is in the way.
apt_install() {
  local become=()
  while [ "$1" != -- ]; do
    become+=("$1")
    shift
  done
  shift
  local apt=(${become[@]+"${become[@]}"} env DEBIAN_FRONTEND=noninteractive
    apt-get -q -o DPkg::Lock::Timeout=300)
  local install=("${apt[@]}" install --yes --no-install-recommends --no-remove "$@")
  "${install[@]}" >/dev/null 2>&1 </dev/null && return
  # No package lists yet, or lists too old for the mirror.
  "${apt[@]}" update >/dev/null 2>&1 </dev/null || true
  quietly "${install[@]}"
}

# Install PACKAGE… system-wide; fail when we may not.
install_system_wide() {
  if [ "$(id -u)" -eq 0 ]; then
    say "installing Debian packages: $*"
    apt_install -- "$@"
  elif ! command -v sudo >/dev/null; then
    return 1
  elif sudo -n true 2>/dev/null; then
    say "installing Debian packages through sudo: $*"
    apt_install sudo -n -- "$@"
  elif [ -z "${CI:-}" ] && [ -t 0 ] && [ -t 2 ]; then
    say "installing Debian packages through sudo: $*"
    say "(without sudo rights: press Ctrl-C and run scripts/setup --private)"
    sudo -v && apt_install sudo -- "$@"
  else
    return 1
  fi
}

private_apt() {
  apt-get -q -o Debug::NoLocking=1 -o Dir::Cache="$tools/apt/cache" ${lists[@]+"${lists[@]}"} "$@"
}

# Print PACKAGE… and what apt would have to install beside them.
with_missing_dependencies() {
  local plan
  plan="$(private_apt --simulate install --no-install-recommends "$@" 2>/dev/null)" || return
  # Not the C library: a program has to run with the one that its loader belongs to.
  { printf '%s\n' "$@" && sed -n 's/^Inst \([^ ]*\) .*/\1/p' <<<"$plan"; } |
    sort -u | grep -vE '^(libc6|libc-bin)(:|$)'
}

download() {
  local names
  names="$(with_missing_dependencies "$@")" || return
  # shellcheck disable=SC2086  # names of packages hold no spaces
  (cd "$tools/apt/debs" && private_apt download $names >/dev/null 2>&1 </dev/null)
}

# Unpack PACKAGE…, and what they need and the system lacks, below .tools/tree.
install_privately() {
  local deb
  type -P apt-get >/dev/null && type -P dpkg >/dev/null || return
  case "$root" in
    *[[:space:]:\'\"\\\$\`]*)
      die "the programs of MariaDB cannot run from a folder with such a path: $root" \
        "move the checkout, or as root: apt-get install $*" ;;
  esac
  say "unpacking Debian packages into .tools: $*"
  rm -rf "$complete" "$tools/apt"
  mkdir -p "$tree" "$tools/apt/debs" "$tools/apt/cache/archives/partial" "$tools/apt/lists/partial"
  if ! download "$@"; then
    # No package lists yet, or lists too old for the mirror: make our own.
    lists=(-o "Dir::State::lists=$tools/apt/lists")
    private_apt update >/dev/null 2>&1 </dev/null || true
    rm -f "$tools"/apt/debs/*
    download "$@" || return
  fi
  for deb in "$tools"/apt/debs/*.deb; do dpkg -x "$deb" "$tree"; done
  rm -rf "$tools/apt"
  touch "$complete"
}

write_wrapper() {
  local name="$1" program="$2" libraries="" folder
  for folder in "$tree"/usr/lib/*-linux-* "$tree"/lib/*-linux-*; do
    if [ -d "$folder" ]; then libraries+="${libraries:+:}$folder"; fi
  done
  cat <<WRAPPER
#!/bin/sh
# Made by scripts/setup: runs $name from the private folder.
export LD_LIBRARY_PATH="$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export MARIADB_PLUGIN_DIR="${libraries%%:*}/libmariadb3/plugin"
WRAPPER
  case "$name" in
    mariadbd | mariadb-install-db)
      cat <<WRAPPER
# An option about defaults has to stay the first one.
case "\${1-}" in
  --no-defaults | --defaults-*) first="\$1"; shift; set -- "\$first" "--basedir=$tree/usr" "\$@" ;;
  *) set -- "--basedir=$tree/usr" "\$@" ;;
esac
WRAPPER
      ;;
  esac
  if [ "$name" = openssl ]; then echo "export OPENSSL_CONF=$tree/etc/ssl/openssl.cnf"; fi
  printf 'exec "%s" "$@"\n' "$program"
}

# Write into FOLDER a wrapper for each program that the system lacks and the private folder has.
write_wrappers() {
  local folder="$1" name program
  for name in "${private_programs[@]}"; do
    program="$(private_program "$name")" || continue
    system_has "$name" && continue
    write_wrapper "$name" "$program" >"$folder/$name.new"
    chmod 755 "$folder/$name.new"
    mv "$folder/$name.new" "$folder/$name"
  done
}
