"""A cloud assembly written by hand: the smallest that a scheduler and two pools need, with the names of the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xdask_pipelines.topology import aws_names

CLIENT, EAST, WEST = "eu-west-2", "us-east-1", "us-west-2"
ACCOUNT = "123456789012"
TOPOLOGY = f"""
profile: attached
scheduler: {aws_names.SCHEDULER_ADDRESS}
client: {{region: {CLIENT}, cidr: 10.0.0.0/16}}
workers:
  - region: {EAST}
    cidr: 10.1.0.0/16
    datasets:
      - {{name: era5, layout: era5-pds, mount: era5-pds, excerpt: true}}
  - region: {WEST}
    cidr: 10.2.0.0/16
    datasets:
      - {{name: cmip6, layout: cmip6-pds, mount: cmip6}}
"""
_KEYS = """
import json, os, urllib.request
from pathlib import Path
import boto3
folder = Path("var/certs")
folder.mkdir(parents=True, exist_ok=True)
secret = boto3.client("secretsmanager").get_secret_value(SecretId="xdask/tls")["SecretString"]
for name, text in json.loads(secret).items():
    (folder / name).write_text(text)
    (folder / name).chmod(0o600)
"""
#: What the image's own commands do: they read their keys, and the scheduler listens at the address of its task.
_SCHEDULER = f"""{_KEYS}
with urllib.request.urlopen(os.environ["ECS_CONTAINER_METADATA_URI_V4"] + "/task") as answer:
    address = json.load(answer)["Containers"][0]["Networks"][0]["IPv4Addresses"][0]
os.execvp("xdask", ["xdask", "scheduler", "--host", address, "--dashboard", "127.0.0.1:0"])
"""
_CODE = f"""{_KEYS}
import signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
while True:
    signal.pause()
"""
Template = dict[str, Any]


def topology_file(folder: Path) -> Path:
    """Write the topology of the assembly into a folder, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "regions.yaml").write_text(TOPOLOGY)
    return folder / "regions.yaml"


def written_assembly(folder: Path) -> Path:
    """Write the assembly into a folder, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    stacks: dict[tuple[str, str], Template] = {
        ("worker", EAST): _worker(EAST),  # not in the order of deployment
        ("worker", WEST): _worker(WEST),
        ("client", CLIENT): _client(),
        ("dns", CLIENT): _dns(),
        ("network", CLIENT): _network("10.0.0.0/16"),
        ("network", EAST): _network("10.1.0.0/16"),
        ("network", WEST): _network("10.2.0.0/16"),
    }
    artifacts: dict[str, Any] = {"Tree": {"type": "cdk:tree"}}
    for (kind, region), template in stacks.items():
        name = aws_names.stack_name(kind, region)
        (folder / f"{name}.template.json").write_text(json.dumps(template))
        artifacts[name] = {
            "type": "aws:cloudformation:stack",
            "environment": f"aws://{ACCOUNT}/{region}",
            "properties": {"templateFile": f"{name}.template.json"},
            "dependencies": [aws_names.stack_name("dns", CLIENT)] if kind == "client" else [],
        }
    (folder / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    return folder


def _network(cidr: str) -> Template:
    return {
        "Resources": {
            "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": cidr}},
            "Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": cidr}},
            "Flow": {"Type": "AWS::EC2::FlowLog", "Properties": {"ResourceId": {"Ref": "Vpc"}}},
        },
        "Outputs": {
            "Vpc": {"Value": {"Ref": "Vpc"}},
            "Subnet": {"Value": {"Ref": "Subnet"}},
            "Flow": {"Value": {"Fn::Sub": "log ${Flow} of ${Vpc}"}},
        },
    }


def _output(kind: str, region: str, name: str) -> Template:
    stack = aws_names.stack_name(kind, region)
    return {"Fn::GetStackOutput": {"StackName": stack, "Region": region, "OutputName": name}}


def _dns() -> Template:
    vpcs = [{"VPCId": _output("network", region, "Vpc"), "VPCRegion": region} for region in (CLIENT, EAST, WEST)]
    return {
        "Resources": {
            "Zone": {"Type": "AWS::Route53::HostedZone", "Properties": {"Name": aws_names.ZONE, "VPCs": vpcs}},
            "Tls": {
                "Type": "AWS::SecretsManager::Secret",
                "Properties": {
                    "Name": aws_names.TLS_SECRET,
                    "ReplicaRegions": [{"Region": EAST}, {"Region": WEST}],
                },
            },
        }
    }


def _role(part: str, region: str, statements: list[Template]) -> Template:
    trust = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": aws_names.role_name(part, region),
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
            "Policies": [{"PolicyName": part, "PolicyDocument": {"Version": "2012-10-17", "Statement": statements}}],
        },
    }


def _network_of(region: str) -> Template:
    return {
        "AwsvpcConfiguration": {"Subnets": [_output("network", region, "Subnet")], "SecurityGroups": ["sg-0123456789"]}
    }


def _reads_keys(region: str) -> Template:
    secret = f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:{aws_names.TLS_SECRET}-??????"
    return {"Sid": "Tls", "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secret}


def _client() -> Template:
    return {
        "Resources": {
            "Role": _role("dagster", CLIENT, [_reads_keys(CLIENT)]),
            "Cluster": {"Type": "AWS::ECS::Cluster", "Properties": {"ClusterName": aws_names.cluster_name(CLIENT)}},
            **_client_service("Scheduler", aws_names.SCHEDULER_SERVICE, "scheduler", _SCHEDULER),
            **_client_service("Dagster", aws_names.DAGSTER_SERVICE, "code", _CODE),
        }
    }


def _client_service(id_: str, name: str, container: str, program: str) -> Template:
    folders = {"/tmp": 256, "/run/xdask": 16, f"{aws_names.PROJECT_PATH}/var": 256}
    definition = {
        "Name": container,
        "Image": "xdask_pipelines",
        "EntryPoint": ["python", "-c", program],
        "Environment": [{"Name": "AWS_DEFAULT_REGION", "Value": CLIENT}],
        "User": "10001:10001",
        "LinuxParameters": {"Tmpfs": [{"ContainerPath": path, "Size": size} for path, size in folders.items()]},
    }
    return {
        f"{id_}Task": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {
                "Family": name,
                "NetworkMode": "awsvpc",
                "RequiresCompatibilities": ["FARGATE"],
                "TaskRoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                "ContainerDefinitions": [definition],
            },
        },
        f"{id_}Service": {
            "Type": "AWS::ECS::Service",
            "Properties": {
                "ServiceName": name,
                "Cluster": {"Ref": "Cluster"},
                "TaskDefinition": {"Ref": f"{id_}Task"},
                "LaunchType": "FARGATE",
                "DesiredCount": 1,
                "DeploymentConfiguration": {"MinimumHealthyPercent": 0, "MaximumPercent": 100},
                "NetworkConfiguration": _network_of(CLIENT),
            },
        },
    }


def _worker(region: str) -> Template:
    folders = {
        "data": ("/mnt/data", aws_names.DATA_PATH),
        "results": ("/mnt/results", aws_names.RESULTS_PATH),
        "spill": ("/mnt/nvme/spill", aws_names.SPILL_PATH),
        "tls": ("/run/xdask/tls", aws_names.CERTIFICATES_PATH),
    }
    command = [
        *(
            "worker",
            "--region",
            region,
            "--scheduler",
            aws_names.SCHEDULER_ADDRESS,
            "--processes",
            "1",
            "--threads",
            "1",
        ),
        *("--data", aws_names.DATA_PATH, "--results", aws_names.RESULTS_PATH, "--certs", aws_names.CERTIFICATES_PATH),
        *("--local-directory", aws_names.SPILL_PATH, "--ports", "9000-9063"),
    ]
    container = {
        "Name": aws_names.WORKER_CONTAINER,
        "Image": "xdask_pipelines",
        "Command": command,
        "User": "10001:10001",
        "MountPoints": [
            {"SourceVolume": name, "ContainerPath": path, "ReadOnly": name in ("data", "tls")}
            for name, (_, path) in folders.items()
        ],
        "LinuxParameters": {"Tmpfs": [{"ContainerPath": "/tmp", "Size": 64}]},
    }
    provider = aws_names.capacity_provider(region)
    return {
        "Resources": {
            "Role": _role("pool", region, []),
            "HostRole": _role("host", region, [_reads_keys(region)]),
            "Cluster": {"Type": "AWS::ECS::Cluster", "Properties": {"ClusterName": aws_names.cluster_name(region)}},
            "Template": {
                "Type": "AWS::EC2::LaunchTemplate",
                "Properties": {"LaunchTemplateData": {"ImageId": "ami-1"}},
            },
            "Group": {
                "Type": "AWS::AutoScaling::AutoScalingGroup",
                "Properties": {
                    "AutoScalingGroupName": provider,
                    "MinSize": "0",
                    "MaxSize": "3",
                    "LaunchTemplate": {"LaunchTemplateId": {"Ref": "Template"}, "Version": "1"},
                    "VPCZoneIdentifier": [_output("network", region, "Subnet")],
                },
            },
            "Provider": {
                "Type": "AWS::ECS::CapacityProvider",
                "Properties": {
                    "Name": provider,
                    "AutoScalingGroupProvider": {"AutoScalingGroupArn": {"Ref": "Group"}},
                },
            },
            "Task": {
                "Type": "AWS::ECS::TaskDefinition",
                "Properties": {
                    "Family": aws_names.pool_service(region),
                    "NetworkMode": "awsvpc",
                    "RequiresCompatibilities": ["EC2"],
                    "TaskRoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                    "Volumes": [{"Name": name, "Host": {"SourcePath": path}} for name, (path, _) in folders.items()],
                    "ContainerDefinitions": [container],
                },
            },
            "Service": {
                "Type": "AWS::ECS::Service",
                "Properties": {
                    "ServiceName": aws_names.pool_service(region),
                    "Cluster": {"Ref": "Cluster"},
                    "TaskDefinition": {"Ref": "Task"},
                    "DesiredCount": 0,
                    "CapacityProviderStrategy": [{"CapacityProvider": {"Ref": "Provider"}, "Weight": 1}],
                    "NetworkConfiguration": _network_of(region),
                },
            },
        }
    }
