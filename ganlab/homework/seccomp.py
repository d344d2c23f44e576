"""System calls that nothing in a notebook needs and that get around a bound: they fail as if they did not exist.

`memfd_create` and `shmget` hold memory that no process is seen to have; the others reach into the kernel's keyrings,
into other processes, or make namespaces. Without a filter for this processor the rest of the isolation stands.
"""

import platform
import struct

# Numbers from the kernel's tables, for x86-64 and for the generic table that aarch64 and riscv64 use.
CALLS = {
    "x86_64": {"memfd_create": 319, "memfd_secret": 447, "shmget": 29, "shmat": 30, "add_key": 248, "request_key": 249,
               "keyctl": 250, "ptrace": 101, "process_vm_writev": 311, "process_vm_readv": 310, "unshare": 272,
               "setns": 308, "mount": 165, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
               "io_uring_setup": 425, "msgget": 68, "semget": 64},
    "aarch64": {"memfd_create": 279, "memfd_secret": 447, "shmget": 194, "shmat": 196, "add_key": 217,
                "request_key": 218, "keyctl": 219, "ptrace": 117, "process_vm_writev": 271, "process_vm_readv": 270,
                "unshare": 97, "setns": 268, "mount": 40, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282,
                "io_uring_setup": 425, "msgget": 186, "semget": 190},
}
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, NOT_THERE = 0x7FFF0000, 0x80000000, 0x00050000 | 38  # SECCOMP_RET_ALLOW, _KILL_PROCESS, _ERRNO | ENOSYS
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of classic BPF: load a word, two jumps, return


def program(machine: str = "") -> bytes:
    """A filter as bubblewrap takes it (an array of `struct sock_filter`); empty for a processor that is not known.

    Another processor's calls, such as 32-bit ones on x86-64, would pass under other numbers: they end the process.
    """
    machine = machine or platform.machine()
    if machine not in CALLS:
        return b""
    calls = sorted(CALLS[machine].values())
    steps = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, ARCHITECTURES[machine]), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0),
             (AT_LEAST, len(calls) + 1, 0, 0x40000000)]  # the x32 numbers
    steps += [(EQUAL, len(calls) - position, 0, call) for position, call in enumerate(calls)]
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, NOT_THERE)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
