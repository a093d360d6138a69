"""The files of a Slurm bed, as texts with {names} to fill in."""

SLURM_CONF = """\
ClusterName=bed
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmctldPort={port}
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
StateSaveLocation={folder}/state
SlurmdPidFile={folder}/run/in-%n.pid
SlurmdLogFile={folder}/log/slurmd-%n.log
SlurmdSpoolDir={folder}/spool/%n
# Any machine will do: no cgroups, no accounting, no look at what hardware there really is.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
ReturnToService=2
KillWait=5
InactiveLimit=0
GresTypes=gpu
TaskProlog={folder}/prolog
NodeName=h100-0 NodeHostname={host} NodeAddr=127.0.0.1 Port={port_h100} CPUs={cpus} RealMemory={memory} \\
    Gres=gpu:H100:{h100}
NodeName=h200-0 NodeHostname={host} NodeAddr=127.0.0.1 Port={port_h200} CPUs={cpus} RealMemory={memory} \\
    Gres=gpu:H200:{h200}
PartitionName=h100 Nodes=h100-0 Default=YES MaxTime=1-0 State=UP
PartitionName=h200 Nodes=h200-0 MaxTime=1-0 State=UP
"""

GRES_CONF = """\
NodeName=h100-0 Name=gpu Type=H100 File={folder}/dev/nvidia[0-{last_h100}]
NodeName=h200-0 Name=gpu Type=H200 File={folder}/dev/nvidia[0-{last_h200}]
"""

# SkyPilot opens many sessions at once and keeps them: the defaults refuse some.
SSHD_CONFIG = """\
Port {ssh_port}
ListenAddress 127.0.0.1
HostKey {folder}/ssh/host
PidFile {folder}/run/sshd.pid
AuthorizedKeysFile {folder}/ssh/authorized_keys
AllowUsers {user}
PasswordAuthentication no
StrictModes no
UsePAM no
UseDNS no
MaxSessions 256
MaxStartups 256
SetEnv {ssh_env}
Subsystem sftp internal-sftp
"""

# SkyPilot's setup of a node makes a venv of Python 3.10 with uv, which would download one: it gets the system's. Nodes
# share this machine's ports, and two of SkyPilot's daemons that start at once would take the same: one node waits for
# the other's, a while.
UV_SHIM = """\
#!/bin/bash
{exports}words=()
for word in "$@"; do
    if [ "$word" = 3.10 ]; then word=/usr/bin/python3; fi
    words+=("$word")
done
if [ "$SLURMD_NODENAME" = h200-0 ]; then
    timeout 30 bash -c 'until (: < /dev/tcp/127.0.0.1/{skylet_port}) 2> /dev/null; do sleep 0.5; done'
fi
exec {uv} "${{words[@]}}"
"""

# SkyPilot looks for uv in the home it makes for each cluster, and would download it where it is not.
PROLOG = """\
#!/bin/bash
for home in {folder}/user/.sky_clusters/*/; do
    mkdir -p "$home.local/bin" && ln -sfn {folder}/uv "$home.local/bin/uv"
done 2>/dev/null
{prints}"""
