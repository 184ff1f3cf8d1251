"""Metadata is merged key by key: an empty value removes its key, an empty whole removes everything."""


def merged(present: dict[str, str], given: dict[str, str] | None) -> dict[str, str]:
    if given is None:
        return dict(present)
    if not given:
        return {}
    return {key: value for key, value in {**present, **given}.items() if value}
