-- Uses of features as rows of their own, to be read by anybody's reports: each counts from window_start to before
-- window_end. `user_id` is the person whose personal organization used it, or the organization.
create view tier_usage as
select
    use.hold as id,
    coalesce(
        (select min(app_user.id) from app_user where app_user.personal_organization = organization.id), organization.id
    ) as user_id,
    use.feature,
    use.units as count,
    use.at as window_start,
    use.at + interval '720 hours' as window_end,
    use.at as created_at
from feature_use as use
join organization on organization.account = use.account;
