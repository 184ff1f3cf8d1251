-- name: prune_uses$
select prune_feature_uses(:lane::integer, :counters::integer);
