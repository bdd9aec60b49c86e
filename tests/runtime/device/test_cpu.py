"""What /proc/cpuinfo of real processors says, and what follows from it."""

import os

import pytest

from edgecnn_runtime.device.cpu import (
    INT8_DOT,
    SATURATING,
    WIDE,
    cpu_features,
    cpu_model,
    cpu_quota,
    saturates,
    usable_cores,
)

X86 = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse"
SSE = f"{X86} sse2 ht syscall nx pdpe1gb rdtscp lm pni pclmulqdq ssse3 cx16 sse4_1 sse4_2 popcnt"
HASWELL = f"{SSE} fma movbe aes xsave avx f16c rdrand abm bmi1 avx2 bmi2 erms"
SKYLAKE_SP = (
    f"{HASWELL} avx512f avx512dq rdseed adx smap clflushopt clwb avx512cd avx512bw avx512vl"
)
CASCADE_LAKE = f"{SKYLAKE_SP} ospke avx512_vnni md_clear flush_l1d arch_capabilities"
SAPPHIRE_RAPIDS = (
    f"{SKYLAKE_SP} avx512ifma avx_vnni avx512_bf16 avx512vbmi avx512_vbmi2 gfni vaes avx512_vnni "
    "avx512_bitalg avx512_vpopcntdq avx512_fp16 amx_bf16 amx_tile amx_int8 arch_capabilities"
)
ALDER_LAKE = f"{HASWELL} adx smap clflushopt clwb sha_ni avx_vnni gfni vaes vpclmulqdq serialize"

PROCESSORS = {
    # name: (lines as the kernel prints them, model, some features, sums products exactly)
    "Celeron J4125": (
        f"model name\t: Intel(R) Celeron(R) J4125 CPU @ 2.00GHz\nflags\t\t: {SSE}\n",
        "Intel(R) Celeron(R) J4125 CPU @ 2.00GHz", {"sse41"}, False,
    ),
    "i5-8500T": (
        f"model name\t: Intel(R) Core(TM) i5-8500T CPU @ 2.10GHz\nflags\t\t: {HASWELL}\n",
        "Intel(R) Core(TM) i5-8500T CPU @ 2.10GHz", {"avx2", "fma"}, False,
    ),
    "Ryzen V1605B": (
        f"model name\t: AMD Ryzen Embedded V1605B with Radeon Vega Gfx\nflags\t\t: {HASWELL}\n",
        "AMD Ryzen Embedded V1605B with Radeon Vega Gfx", {"avx2"}, False,
    ),
    "Xeon Gold 6130": (
        f"model name\t: Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz\nflags\t\t: {SKYLAKE_SP}\n",
        "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz", {"avx512f", "avx512bw"}, False,
    ),
    "Xeon Silver 4210": (
        f"model name\t: Intel(R) Xeon(R) Silver 4210 CPU @ 2.20GHz\nflags\t\t: {CASCADE_LAKE}\n",
        "Intel(R) Xeon(R) Silver 4210 CPU @ 2.20GHz", {"avx512_vnni"}, True,
    ),
    "N100": (
        f"model name\t: Intel(R) N100\nflags\t\t: {ALDER_LAKE}\n",
        "Intel(R) N100", {"avx2", "avx_vnni"}, True,
    ),
    "Xeon Platinum 8480+": (
        f"model name\t: Intel(R) Xeon(R) Platinum 8480+\nflags\t\t: {SAPPHIRE_RAPIDS}\n",
        "Intel(R) Xeon(R) Platinum 8480+",
        {"amx_int8", "amx_bf16", "avx512_vnni", "avx512_bf16", "avx512_fp16"}, True,
    ),
    "Raspberry Pi 4": (
        "Features\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
        "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n",
        "Cortex-A72", {"neon"}, False,
    ),
    "Raspberry Pi 5": (
        "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid "
        "asimdrdm lrcpc dcpop asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n",
        "Cortex-A76", {"neon", "dotprod", "fp16"}, True,
    ),
    "Jetson Orin": (
        "model name\t: ARMv8 Processor rev 1 (v8l)\nFeatures\t: fp asimd evtstrm aes pmull sha1 "
        "sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp uscat ilrcpc flagm\n"
        "CPU implementer\t: 0x41\nCPU part\t: 0xd42\n",
        "ARMv8 Processor rev 1 (v8l)", {"dotprod"}, True,
    ),
    "Graviton3": (
        "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid "
        "asimdrdm jscvt fcma lrcpc dcpop sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat "
        "ilrcpc flagm ssbs paca pacg dcpodp svei8mm svebf16 i8mm bf16 dgh rng\n"
        "CPU implementer\t: 0x41\nCPU part\t: 0xd40\n",
        "Neoverse-V1", {"dotprod", "i8mm", "bf16", "sve"}, True,
    ),
    "RK3588": (
        "processor\t: 0\nFeatures\t: fp asimd evtstrm asimdhp asimddp\nCPU part\t: 0xd05\n\n"
        "processor\t: 4\nFeatures\t: fp asimd evtstrm asimdhp asimddp\nCPU part\t: 0xd0b\n",
        "Cortex-A55 + Cortex-A76", {"dotprod"}, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROCESSORS)
def test_real_processors(name, tmp_path):
    text, model, some, exact = PROCESSORS[name]
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{text}")
    found = cpu_features(path)
    assert found >= some
    assert bool(found & INT8_DOT) is exact
    assert not (exact and saturates(found))
    assert cpu_model(path) == model


@pytest.mark.parametrize("name", ["Celeron J4125", "i5-8500T", "Ryzen V1605B", "Xeon Gold 6130"])
def test_x86_without_vnni_saturates(name, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(PROCESSORS[name][0])
    found = cpu_features(path)
    assert found & SATURATING
    assert saturates(found)
    assert bool(found & WIDE) is (name != "Celeron J4125")


def test_arm_never_saturates(tmp_path):
    for name in ("Raspberry Pi 4", "Raspberry Pi 5", "Graviton3"):
        path = tmp_path / name
        path.write_text(PROCESSORS[name][0])
        assert not saturates(cpu_features(path))


def test_where_the_kernel_says_nothing(tmp_path):
    assert cpu_features(tmp_path / "absent") == frozenset()
    assert not saturates(frozenset())
    assert cpu_model(tmp_path / "absent") == "unknown"
    (tmp_path / "noise").write_bytes(b"\xff\x00flags: \nmodel name\t:\nCPU part\t: 0xfff\n")
    assert cpu_model(tmp_path / "noise") == "Arm part 0xfff"


def test_cores_are_at_least_one_and_no_more_than_there_are():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/", {}, None),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/system.slice/a.service", {"system.slice/a.service/cpu.max": "50000 100000"}, 0.5),
        (
            "0::/system.slice/a.service",
            {"system.slice/a.service/cpu.max": "max 100000", "system.slice/cpu.max": "20000 10000"},
            2.0,
        ),
        (
            "0::/a/b",
            {"cpu.max": "400000 100000", "a/cpu.max": "100000 100000", "a/b/cpu.max": "3000 1000"},
            1.0,
        ),
        ("4:cpu,cpuacct:/a", {"cpu,cpuacct/a/cpu.cfs_quota_us": "50000"}, 0.5),
        ("4:cpu:/a\n0::/b", {"cpu/a/cpu.cfs_quota_us": "-1", "unified/b/cpu.max": "7 2"}, 3.5),
        ("4:cpu:/docker/x", {"cpu/cpu.cfs_quota_us": "250000"}, 2.5),
        ("3:memory:/a\n2:cpuset:/a", {"a/cpu.max": "1 1", "cpu/a/cpu.cfs_quota_us": "1"}, None),
        ("nonsense", {"cpu.max": "nonsense"}, None),
    ],
)
def test_the_least_limit_of_all_cgroups_around_counts(tmp_path, membership, files, cores):
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if name.endswith("quota_us"):
            path.with_name("cpu.cfs_period_us").write_text("100000")
    assert cpu_quota(tmp_path / "membership", tmp_path / "cgroup") == cores
