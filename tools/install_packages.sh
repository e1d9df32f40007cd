#!/bin/sh
# Installs the Debian or Ubuntu packages that are missing: the emulators, and what the host tests of
# the kernel need. Without root and sudo it prints the command and succeeds: the harness goes on with
# the backends there are.
set -eu

packages="qemu-system-x86 bochs bochs-sdl bochsbios vgabios g++ g++-multilib doctest-dev git"

# Debian splits venv from its Python; other Pythons have it.
python3 -c "import ensurepip, venv" 2>/dev/null || packages="$packages python3-venv"

missing=""
if command -v dpkg-query >/dev/null 2>&1; then
    for package in $packages; do
        state=$(dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null || true)
        [ "$state" = "install ok installed" ] || missing="$missing $package"
    done
else
    echo "This is not Debian or Ubuntu: install QEMU, Bochs (with its debugger and the SDL 2" >&2
    echo "display), a VGA BIOS, g++ and doctest by hand; 'conformance doctor' says what is missing." >&2
    exit 0
fi
[ -n "$missing" ] || exit 0

install="apt-get install --yes --no-install-recommends$missing"
if [ "$(id -u)" -eq 0 ]; then
    runner=""
elif command -v sudo >/dev/null 2>&1 && sudo --non-interactive true 2>/dev/null; then
    runner="sudo"
else
    echo "Missing system packages. To have all backends, run:" >&2
    echo "    sudo $install" >&2
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
echo "installing system packages:$missing"
$runner apt-get update --quiet=2
# shellcheck disable=SC2086 # a list of words
$runner $install --quiet=2 >/dev/null
