"""The Book: all that is for sale, in memory, and the right version of it at any `now`. Pure.

The gateway asks it for every request, so the answers are worked out once, for every name, and kept until the next
moment at which a version takes effect.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from tallystick.catalog.candidate import Candidate, Model
from tallystick.catalog.document import Coupon, CredentialReference, FallbackPolicy, Pack
from tallystick.catalog.errors import UnknownCoupon, UnknownPack, UnknownPlan
from tallystick.catalog.meters import BUILT_IN
from tallystick.catalog.page import Held, Page, Sale, Target, held
from tallystick.catalog.plan import Feature, Meter, Plan
from tallystick.catalog.timeline import Version, by_name

__all__ = ["Book", "Candidate", "Held", "Model", "Sale"]

_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


class Book:
    """A snapshot of the catalog: the versions in force and those that will be.

    `secrets` holds the credentials that this process has, by the reference that providers name them with. A provider
    whose credential is not there is not called.
    """

    def __init__(self, versions: Iterable[Version], secrets: Mapping[CredentialReference, str] | None = None) -> None:
        self._secrets = dict(secrets or {})
        every = list(versions)
        self._versions = by_name(every)
        self._moments = sorted({version.effective_from for version in every})
        self._page: Page | None = None

    def candidates(self, alias: str, now: datetime) -> Sequence[Candidate]:
        """The models that may answer a call of `alias`, in the order they are tried; never empty.

        Raises UnknownModel; UnpricedModel where no candidate has both a cost and a price; ProviderNotReady where
        this process lacks every credential needed.
        """
        return self._model(alias, now).candidates

    def fallback(self, alias: str, now: datetime) -> FallbackPolicy:
        """When the next candidate of `alias` may be tried. Raises as `candidates` does."""
        return self._model(alias, now).fallback

    def feature(self, alias: str, now: datetime) -> str | None:
        """The feature of which a call of `alias` is one use, if any. Raises as `candidates` does."""
        return self._model(alias, now).feature

    def models(self, now: datetime) -> Sequence[Model]:
        """What can be called now, by name."""
        return list(self._page_at(now).models.values())

    def pack(self, slug: str) -> Pack:
        """Raises UnknownPack."""
        for pack in self.packs():
            if pack.slug == slug:
                return pack
        raise UnknownPack(f"There is no pack {slug!r}.")

    def packs(self) -> Sequence[Pack]:
        """What is on offer, the smallest first."""
        found = [pack.document for pack in held(self._versions, "pack", Pack, _LAST).values()]
        return sorted(found, key=lambda pack: (pack.amount_minor, pack.slug))

    def coupon(self, code: str, at: datetime) -> Coupon:
        """The coupon of this code, as it is at `at`. Raises UnknownCoupon."""
        found = held(self._versions, "coupon", Coupon, at).get(code.strip().upper())
        if found is None:
            raise UnknownCoupon("There is no such coupon.")
        return found.document

    def plan(self, slug: str, at: datetime) -> Held[Plan]:
        """The plan as it is sold at `at`, with the id of its version. Raises UnknownPlan."""
        found = held(self._versions, "plan", Plan, at).get(slug)
        if found is None:
            sold = ", ".join(plan.document.slug for plan in self.plans(at)) or "none yet"
            raise UnknownPlan(f"There is no plan {slug!r}. On sale: {sold}.")
        return found

    def plans(self, at: datetime) -> Sequence[Held[Plan]]:
        """What can be subscribed to at `at`, the cheapest first. A version that left the catalog is not in a Book:
        `read.plan_version` finds the one that a subscription pins."""
        found = held(self._versions, "plan", Plan, at).values()
        return sorted(found, key=lambda plan: (plan.document.amount_minor, plan.document.slug))

    def default_plan(self, at: datetime) -> Held[Plan] | None:
        """The plan of organizations without a subscription, where the catalog has one."""
        return next((plan for plan in self.plans(at) if plan.document.default), None)

    def meters(self, at: datetime) -> Mapping[str, Meter]:
        """The built-in meters and those of the catalog, by name."""
        written = held(self._versions, "meter", Meter, at)
        return BUILT_IN | {name: meter.document for name, meter in sorted(written.items())}

    def features(self, at: datetime) -> Mapping[str, Feature]:
        """What tiers limit, by name."""
        written = held(self._versions, "feature", Feature, at)
        return {name: feature.document for name, feature in sorted(written.items())}

    def sales(self, now: datetime) -> Mapping[Target, Sale]:
        """Every (provider, model) with a cost, sold or not."""
        return self._page_at(now).sales

    def moments(self, now: datetime) -> Sequence[datetime]:
        """`now`, and every later moment at which something changes."""
        return [now, *(moment for moment in self._moments if moment > now)]

    def providers(self, now: datetime) -> Sequence[str]:
        return sorted(self._page_at(now).providers)

    def unready_providers(self, now: datetime) -> Sequence[str]:
        """Providers whose credential is missing in this process."""
        return sorted(self._page_at(now).unready)

    def unsold_targets(self, now: datetime) -> Mapping[str, Sequence[str]]:
        """Per route, the "provider/model" it names that cannot be sold, for want of a cost or of a price."""
        return self._page_at(now).unsold_targets()

    def _model(self, alias: str, now: datetime) -> Model:
        page = self._page_at(now)
        model = page.models.get(alias)
        if model is None:
            raise page.refusal(alias)
        return model

    def _page_at(self, now: datetime) -> Page:
        page = self._page
        if page is None or not page.since <= now < page.until:
            since = max((moment for moment in self._moments if moment <= now), default=_FIRST)
            until = min((moment for moment in self._moments if moment > now), default=_LAST)
            page = self._page = Page(self._versions, self._secrets, since, until)
        return page
