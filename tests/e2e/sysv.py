# SPDX-License-Identifier: MIT
"""System V shared memory by the bare calls, and what /proc says of it."""
import ctypes
import os
from types import SimpleNamespace

CLONE_NEWIPC = 0x08000000
IPC_CREAT, IPC_EXCL = 0o1000, 0o2000
IPC_RMID, IPC_SET, IPC_STAT = 0, 1, 2
SHM_RDONLY = 0o10000
DEST = 0o1000

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.shmdt.argtypes = [ctypes.c_void_p]
libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]


class Perm(ctypes.Structure):
    _fields_ = [("key", ctypes.c_int), ("uid", ctypes.c_uint), ("gid", ctypes.c_uint),
                ("cuid", ctypes.c_uint), ("cgid", ctypes.c_uint), ("mode", ctypes.c_uint),
                ("seq", ctypes.c_ushort), ("pad", ctypes.c_ushort), ("r1", ctypes.c_ulong),
                ("r2", ctypes.c_ulong)]


class Ds(ctypes.Structure):
    _fields_ = [("perm", Perm), ("segsz", ctypes.c_size_t), ("atime", ctypes.c_long),
                ("dtime", ctypes.c_long), ("ctime", ctypes.c_long), ("cpid", ctypes.c_int),
                ("lpid", ctypes.c_int), ("nattch", ctypes.c_ulong), ("r4", ctypes.c_ulong),
                ("r5", ctypes.c_ulong)]


def check(r, bad=-1):
    if r == bad:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return r


def unshare_ipc():
    """Move this process into an IPC namespace of its own. False where that is not permitted."""
    return libc.unshare(CLONE_NEWIPC) == 0


def segments():
    """All segments of this namespace, by shmid."""
    ret = {}
    with open("/proc/sysvipc/shm") as f:
        next(f)
        for line in f:
            w = line.split()
            ret[int(w[1])] = SimpleNamespace(
                key=int(w[0]), shmid=int(w[1]), mode=int(w[2], 8) & 0o777,
                dest=bool(int(w[2], 8) & DEST), size=int(w[3]), nattch=int(w[6]),
                uid=int(w[7]), gid=int(w[8]), cuid=int(w[9]), cgid=int(w[10]))
    return ret


def shmget(key, size, flags):
    return check(libc.shmget(ctypes.c_int32(key).value, size, flags))


def shmat(shmid, flags=0):
    return check(libc.shmat(shmid, None, flags), ctypes.c_void_p(-1).value)


def shmdt(address):
    check(libc.shmdt(address))


def stat(shmid):
    ds = Ds()
    check(libc.shmctl(shmid, IPC_STAT, ctypes.byref(ds)))
    return ds


def chmod(shmid, mode, uid=None, gid=None):
    """IPC_SET."""
    ds = stat(shmid)
    ds.perm.mode = mode
    ds.perm.uid = ds.perm.uid if uid is None else uid
    ds.perm.gid = ds.perm.gid if gid is None else gid
    check(libc.shmctl(shmid, IPC_SET, ctypes.byref(ds)))


def rmid(shmid):
    check(libc.shmctl(shmid, IPC_RMID, None))


def read(shmid, length, offset=0):
    address = shmat(shmid, SHM_RDONLY)
    try:
        return ctypes.string_at(address + offset, length)
    finally:
        shmdt(address)


def write(shmid, data, offset=0):
    address = shmat(shmid)
    try:
        ctypes.memmove(address + offset, data, len(data))
    finally:
        shmdt(address)
