#!/usr/bin/env python3
"""Proves the foundation: with OpenSSH's client, with plain HTTP, and with the real bbr, bosh and om where they are
($BBR, $BOSH and $OM, target/tools/bin or PATH; without one its checks are skipped). Last line: `N passed, N failed`.

  selftest.py [part of a check's name…]
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import selftest_bbr  # noqa: E402
import selftest_bosh  # noqa: E402
import selftest_capi  # noqa: E402
import selftest_om  # noqa: E402
import selftest_opsman  # noqa: E402
import selftest_opsscratch  # noqa: E402
import selftest_opsstates  # noqa: E402
import selftest_parts  # noqa: E402
import selftest_scratch  # noqa: E402
from running import Running  # noqa: E402


def program_of(name):
    built = os.path.normpath(f"{HERE}/../../target/tools/bin/{name}")
    return os.environ.get(name.upper()) or (built if os.path.exists(built) else shutil.which(name))


def main():
    passed, failed, skipped = 0, 0, 0
    programs = {name: program_of(name) for name in ("bbr", "bosh", "om")}
    for name, program in programs.items():
        if program:
            version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
            print(f"{name}: {program} ({version})")
        else:
            print(f"{name}: none found, its checks are skipped (name one in ${name.upper()})")
    alone = selftest_parts.CHECKS + selftest_opsman.CHECKS + selftest_opsstates.CHECKS + selftest_opsscratch.CHECKS
    alone += selftest_capi.CHECKS
    checks = [(one, needed) for needed, several in (
        ((), alone), (("bosh",), selftest_bosh.CHECKS),
        (("bbr",), selftest_bbr.CHECKS + selftest_opsscratch.BBR_CHECKS),
        (("om",), selftest_om.CHECKS + selftest_opsscratch.OM_CHECKS),
        (("om", "bosh"), selftest_opsscratch.OM_BOSH_CHECKS),
        (("bbr", "bosh"), selftest_scratch.CHECKS)) for one in several]
    for check, needed in checks:
        name = check.__name__
        if sys.argv[1:] and not any(part in name for part in sys.argv[1:]):
            continue
        if not all(programs[one] for one in needed):
            skipped += 1
            continue
        began = time.monotonic()
        work = tempfile.mkdtemp(prefix="selftest-")
        try:
            check(*(programs[one] for one in needed), work)
            passed += 1
            print(f"ok      {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception:  # noqa: BLE001 - a failed check is a result
            failed += 1
            print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)
        finally:
            Running.end_all()
            shutil.rmtree(work, ignore_errors=True)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
