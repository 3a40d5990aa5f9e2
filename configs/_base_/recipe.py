# Optimizer, schedule and cost head that all boards begin with.
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=6e-3, weight_decay=1e-2, fused=True))
param_scheduler = [dict(type="OneCycleLR", eta_max=6e-3, pct_start=0.25)]

# Chosen on training images that were held out: docs/notebook/cost-model.md.
cost_model = dict(hidden=16, steps=300, batch_cells=1024, lr=3e-3, weight_decay=0.3, sigma_px=2.0, max_cells=400_000)
