#!/usr/bin/env bash
# Installs the peers that the benchmarks run beside passferry: tests/bench/tools.sh DIR
#
# From Debian (as root, else their names are printed): wrk, sqlite3, OpenSSH, rclone, lftp, jq, nginx is not needed.
# Into DIR: qsv (compiled, some minutes) as DIR/bin/qsvlite, and frictionless as DIR/frictionless/bin/frictionless.
# What is there already is kept. Every peer that could not be had is named at the end, and the status is then 1: the benchmarks
# leave its lines out.
set -uo pipefail

