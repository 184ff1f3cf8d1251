-- What plans bring in; what Stripe takes for payments and for disputes; where its payouts arrive; debts given up; and
-- what else moves in the same Stripe account, which is not ours to explain.
alter type account_kind add value if not exists 'plan_revenue';
alter type account_kind add value if not exists 'stripe_fee';
alter type account_kind add value if not exists 'dispute_fee';
alter type account_kind add value if not exists 'bank';
alter type account_kind add value if not exists 'bad_debt';
alter type account_kind add value if not exists 'stripe_other';

-- After the others, for they are rare: a refund and a dispute take credits back, a collection pays what they left owed,
-- income is a plan's invoice paid, a fee is Stripe's, a payout what it sent to the bank.
alter type transfer_kind add value if not exists 'refund';
alter type transfer_kind add value if not exists 'dispute';
alter type transfer_kind add value if not exists 'collection';
alter type transfer_kind add value if not exists 'income';
alter type transfer_kind add value if not exists 'fee';
alter type transfer_kind add value if not exists 'payout';
