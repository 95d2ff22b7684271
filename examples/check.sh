#!/bin/sh
# Is this machine ready? Exit code 1 if something that fusing needs does not work. One line of JSON a check.
set -eu
lure doctor --json > doctor.json
