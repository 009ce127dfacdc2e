"""linode_api4 over HTTP, unchanged but for the URL: one short life of an instance."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from linode_api4 import (
    AccountBetaProgram,
    ApiError,
    BetaProgram,
    Event,
    Image,
    Instance,
    IPAddress,
    Kernel,
    LinodeClient,
    OAuthScopes,
    PersonalAccessToken,
    PlacementGroup,
    PlacementGroupPolicy,
    PlacementGroupType,
    Region,
    SSHKey,
    Type,
)
from linode_api4.objects.filtering import and_, limit, or_, order_by
from pytest_django import Settings

from instances.jobs import runner
from instances.models import Account, Job, Plan
from instances.models import Instance as InstanceRow
from instances.selectors import host_of
from inventory.address_claims import claim_address
from tests.api.test_profile import KEY
from tests.builders import (
    GPU_FLAG,
    make_beta,
    make_flag,
    make_invoice,
    make_network,
    make_plan,
    make_token,
)
from tests.simulated import SimulatedHypervisor

# The SDK wants one for any image, and this one has no use for it.
PASSWORD = "correct Horse"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["v4", "v4beta"])
def client(
    request: pytest.FixtureRequest,
    live_server: Any,
    shop: dict[str, Plan],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[LinodeClient]:
    # A connection that outlives its request would keep the test database from going.
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)

    account = Account.objects.create(name="SDK", email="sdk@example.net")
    make_flag(accounts=(account,))
    client = LinodeClient(
        make_token(account), base_url=f"{live_server.url}/{request.param}", retry=False
    )
    yield client
    client.session.close()


def work(host: SimulatedHypervisor) -> None:
    """Do what a worker would: every open job, oldest first."""
    for job in Job.objects.order_by("pk"):
        runner.run(job.pk, connect_to=lambda uri: host)


def test_an_instance_lives_and_dies(
    client: LinodeClient, simulated_host: SimulatedHypervisor
) -> None:
    # What can be had, and where.
    (gpu_type,) = client.linode.types(Type.type_class == "gpu")
    assert (gpu_type.id, gpu_type.gpus, gpu_type.price.hourly) == (
        "g1-gpu-rtx6000-1", 1, 1.5,
    )  # fmt: skip
    regions = [r for r in client.regions() if "GPU Linodes" in r.capabilities]
    assert [r.id for r in regions] == ["us-east"]
    (image,) = client.images(Image.is_public == True)  # noqa: E712 -- the SDK's syntax
    assert client.load(Image, image.id).label == "GPU probe"
    assert client.load(Region, "us-east").country == "us"

    # A machine.
    poller = client.polling.event_poller_create("linode", "linode_create")
    linode = client.linode.instance_create(
        gpu_type,
        regions[0],
        image=image,
        label="trainer",
        tags=["prod"],
        root_pass=PASSWORD,
    )
    assert (linode.status, linode.specs.gpus) == ("provisioning", 1)
    work(simulated_host)
    poller.set_entity_id(linode.id)
    event = poller.wait_for_next_event_finished(timeout=30, interval=0)
    assert (event.status, event.entity.id) == ("finished", linode.id)
    linode.invalidate()
    assert (linode.status, linode.type.id) == ("running", gpu_type.id)
    assert linode.created.year >= 2026

    # Its end.
    assert linode.delete()
    work(simulated_host)
    with pytest.raises(ApiError) as gone:
        client.load(Instance, linode.id)
    assert (gone.value.status, gone.value.errors) == (404, ["Not found"])
    actions = [e.action for e in client.account.events()]
    assert actions == ["linode_delete", "linode_boot", "linode_create"]


def test_resize_as_the_sdk_asks_for_it(
    client: LinodeClient, simulated_host: SimulatedHypervisor
) -> None:
    make_plan("g1-gpu-rtx6000-2", cards=2, flag_name=GPU_FLAG)
    linode = client.linode.instance_create(
        "g1-gpu-rtx6000-1",
        "us-east",
        image="gpucloud/probe",
        label="trainer",
        root_pass=PASSWORD,
    )
    work(simulated_host)
    linode.invalidate()

    assert linode.resize("g1-gpu-rtx6000-2")

    linode.invalidate()
    assert (linode.status, linode.type.id) == ("resizing", "g1-gpu-rtx6000-1")
    work(simulated_host)
    linode.invalidate()
    assert (linode.status, linode.type.id) == ("running", "g1-gpu-rtx6000-2")
    assert linode.specs.gpus == 2
    with pytest.raises(ApiError) as same:
        linode.resize("g1-gpu-rtx6000-2")
    assert same.value.errors == ["Linode is already running this service plan."]


def test_filters_as_the_sdk_writes_them(client: LinodeClient) -> None:
    for label in ("alpha", "beta", "gamma"):
        client.linode.instance_create(
            "g6-standard-2",
            "us-east",
            image="gpucloud/probe",
            label=label,
            tags=["prod"],
            root_pass=PASSWORD,
        )

    def labels(*filters: Any) -> list[str]:
        return [linode.label for linode in client.linode.instances(*filters)]

    assert labels(Instance.label == "beta") == ["beta"]
    assert labels(Instance.label != "beta", Instance.region == "us-east") == [
        "alpha", "gamma",
    ]  # fmt: skip
    either = or_(Instance.label == "alpha", Instance.label.contains("mm"))
    assert labels(either) == ["alpha", "gamma"]
    assert labels(and_(Instance.tags == "prod", either)) == ["alpha", "gamma"]
    assert labels(order_by(Instance.label, desc=True)) == ["gamma", "beta", "alpha"]
    assert labels(limit(2)) == ["alpha", "beta"]
    assert labels(Instance.label == "beta", order_by(Instance.label)) == ["beta"]
    with pytest.raises(ApiError) as refused:
        labels(Instance.hypervisor == "kvm")
    assert refused.value.status == 400


def test_errors_as_the_sdks_own_tests_expect_them(client: LinodeClient) -> None:
    base = client.base_url.rsplit("/", 1)[1]
    with pytest.raises(ApiError) as bad:
        client.linode.instance_create("g6-fake-plan", "us-fakeregion")
    assert str(bad.value) == (
        f"POST /{base}/linode/instances: [400] "
        "type: A valid plan type by that ID was not found; region: region is not valid"
    )
    with pytest.raises(ApiError) as unknown:
        client.get("/invalid/endpoint")
    assert str(unknown.value) == f"GET /{base}/invalid/endpoint: [404] Not found"


def test_profile_and_lists_in_pages(client: LinodeClient) -> None:
    profile = client.profile()
    assert profile.email == f"{profile.username}@example.net"
    client.page_size = 25
    assert len(client.linode.instances()) == 0
    assert len(client.regions()) == 2


def test_a_wrong_token_is_told_so(client: LinodeClient) -> None:
    client.token = "0" * 64
    with pytest.raises(ApiError) as refused:
        client.linode.instances()
    assert (refused.value.status, refused.value.errors) == (401, ["Invalid Token"])


def test_linodes_of_a_group_are_kept_apart(client: LinodeClient) -> None:
    strict = client.placement.group_create(
        "apart",
        client.load(Region, "us-east"),
        PlacementGroupType.anti_affinity_local,
        PlacementGroupPolicy.strict,
    )
    assert (strict.region.id, strict.members, strict.migrations) == (
        "us-east",
        [],
        None,
    )

    def create(**fields: Any) -> Instance:
        return client.linode.instance_create(
            *("g1-gpu-rtx6000-1", "us-east", "gpucloud/probe"),
            root_pass=PASSWORD,
            **fields,
        )

    first = create(placement_group=strict)
    assert first.placement_group.id == strict.id
    with pytest.raises(ApiError) as refused:
        create(placement_group=strict.id)
    assert (refused.value.status, refused.value.errors) == (
        400,
        [
            "No host in us-east without a Linode of placement group "
            "apart has room for g1-gpu-rtx6000-1 right now."
        ],
    )
    second = create()
    loose = client.placement.group_create(
        *("loose", "us-east", "anti_affinity:local", "flexible")
    )
    strict.unassign([first])
    with pytest.raises(ApiError):
        loose.assign([first, second.id], compliant_only=True)
    loose.assign([first, second.id])
    assert [(m.linode_id, m.is_compliant) for m in loose.members] == [
        *((first.id, True), (second.id, False))
    ]
    assert not loose.is_compliant
    with pytest.raises(ApiError):
        loose.delete()
    strict.label = "far"
    assert strict.save()
    assert [g.label for g in client.placement.groups()] == ["far", "loose"]
    (found,) = client.placement.groups(PlacementGroup.label == "far")
    assert found.delete()


def test_keys_and_tokens(client: LinodeClient) -> None:
    key = client.profile.ssh_key_upload(KEY, "laptop")
    key.label = "desk"
    assert key.save()
    (listed,) = client.profile.ssh_keys(SSHKey.label == "desk")
    assert (listed.id, listed.ssh_key) == (key.id, KEY)
    assert key.delete()
    assert len(client.profile.ssh_keys()) == 0

    token = client.profile.token_create(
        "script", scopes=OAuthScopes.serialize([OAuthScopes.Linodes.read_only])
    )
    assert len(token.token) == 64
    narrow = LinodeClient(token.token, base_url=client.base_url, retry=False)
    assert len(narrow.linode.instances()) == 0
    with pytest.raises(ApiError) as refused:
        narrow.profile.token_create("more")
    assert refused.value.status == 401
    assert refused.value.errors == [
        "Your OAuth token is not authorized to use this endpoint."
    ]
    token.label = "cron"
    assert token.save()
    shown = client.load(PersonalAccessToken, token.id)
    assert (shown.label, shown.token) == ("cron", token.token[:8])
    assert [t.label for t in client.profile.tokens()] == ["test", "cron"]
    assert token.delete()
    with pytest.raises(ApiError) as invalid:
        narrow.linode.instances()
    assert invalid.value.errors == ["Invalid Token"]
    narrow.session.close()


def test_the_account(client: LinodeClient) -> None:
    account = client.account()
    assert (account.company, account.capabilities) == (
        "SDK",
        ["Linodes", "GPU Linodes", "Cloud Firewall", "Placement Group"],
    )
    account.email = "pay@example.net"
    assert account.save()
    assert Account.objects.get().email == "pay@example.net"
    profile = client.profile()
    profile.email = "me@example.net"
    assert profile.save()
    assert client.profile().email == "me@example.net"
    assert [u.username for u in client.account.users()] == [profile.username]
    assert client.account.settings().managed is False
    assert len(client.account.maintenance()) == 0
    assert client.account.notifications() == []
    assert [a.region for a in client.account.availabilities()] == ["ap-west", "us-east"]


def test_tags_and_changes_of_an_instance(client: LinodeClient) -> None:
    linode = client.linode.instance_create(
        "g6-standard-2", "us-east", image="gpucloud/probe", root_pass=PASSWORD
    )
    linode.label = "omega"
    linode.tags = ["prod"]
    assert linode.save()
    tag = client.tag_create("blue", instances=[linode])
    assert [t.label for t in client.tags()] == ["blue", "prod"]
    assert [o.label for o in tag.objects] == ["omega"]
    assert tag.delete()
    assert client.load(Instance, linode.id).tags == ["prod"]
    (event,) = client.account.events(Event.action == "linode_update")
    assert (event.status, event.entity.id) == ("notification", linode.id)
    client.account.events_mark_seen(event)
    assert client.load(Event, event.id).seen


def test_power_and_rebuild_as_the_sdk_asks_for_them(
    client: LinodeClient, simulated_host: SimulatedHypervisor, settings: Settings
) -> None:
    settings.SHUTDOWN_GRACE_S = 0
    linode = client.linode.instance_create(
        "g1-gpu-rtx6000-1", "us-east", image="gpucloud/probe", root_pass=PASSWORD
    )
    work(simulated_host)
    for verb, on_the_way, then, action in (
        (linode.shutdown, "shutting_down", "offline", "linode_shutdown"),
        (linode.boot, "booting", "running", "linode_boot"),
        (linode.reboot, "rebooting", "running", "linode_reboot"),
    ):
        poller = client.polling.event_poller_create("linode", action, linode.id)
        assert verb()
        linode.invalidate()
        assert linode.status == on_the_way
        work(simulated_host)
        event = poller.wait_for_next_event_finished(timeout=30, interval=0)
        assert (event.action, event.status) == (action, "finished")
        linode.invalidate()
        assert linode.status == then


def test_rebuild_and_watchdog_as_the_sdk_asks_for_them(
    client: LinodeClient, simulated_host: SimulatedHypervisor
) -> None:
    linode = client.linode.instance_create(
        "g1-gpu-rtx6000-1", "us-east", image="gpucloud/probe", root_pass=PASSWORD
    )
    work(simulated_host)

    assert linode.rebuild("gpucloud/probe", root_pass=PASSWORD)
    assert linode.status == "rebuilding"
    with pytest.raises(ApiError) as busy:
        linode.reboot()
    assert (busy.value.status, busy.value.errors) == (400, ["Linode busy."])
    work(simulated_host)
    linode.invalidate()
    assert linode.status == "running"

    assert (list(linode.disks), list(linode.configs)) == ([], [])
    linode.watchdog_enabled = False
    assert linode.save()
    linode.invalidate()
    assert linode.watchdog_enabled is False
    with pytest.raises(ApiError) as none:
        linode.reset_instance_root_password(root_password=PASSWORD)
    assert "has no password that could be reset" in str(none.value)


def test_the_sdk_enrols(client: LinodeClient) -> None:
    make_beta("eight-gpus", description="Big.")

    (shown,) = client.beta.betas(BetaProgram.label == "Beta eight-gpus")
    assert client.account.join_beta_program(shown)

    (mine,) = client.account.enrolled_betas()
    assert (mine.id, mine.description) == ("eight-gpus", "Big.")
    loaded = client.load(AccountBetaProgram, "eight-gpus")
    assert loaded.started == shown.started
    assert loaded.ended is None


def test_the_sdk_reads_kernels_addresses_and_invoices(
    client: LinodeClient, simulated_host: SimulatedHypervisor
) -> None:
    made = client.linode.instance_create(
        "g1-gpu-rtx6000-1", "us-east", image="gpucloud/probe", root_pass=PASSWORD
    )
    instance = InstanceRow.objects.get(pk=made.id)
    host = host_of(instance)
    assert host is not None
    make_network(host)
    address = claim_address(host, instance.uuid).address
    make_invoice(instance.account, instance)

    (kernel,) = client.linode.kernels()
    assert client.load(Kernel, kernel.id).label == "Direct Disk"
    (shown,) = client.networking.ips()
    assert (shown.address, shown.linode_id) == (address, made.id)
    assert client.load(IPAddress, address).gateway == "10.9.0.1"
    (invoice,) = client.account.invoices()
    assert (invoice.total, [item.amount for item in invoice.items]) == (1, [1])
