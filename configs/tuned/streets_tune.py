# Found by harness tune in 12 trials; run it with: harness bench --strategies all --config configs/tuned/streets_tune.py

data = {'type': 'streets',
 'height': 128,
 'width': 256,
 'train': 200,
 'val': 60,
 'seed': 1,
 'redundancy': 1,
 'visible_only': False}

model = {'type': 'EncoderDecoder',
 'data_preprocessor': {'type': 'SegDataPreProcessor',
                       'mean': [128.0, 128.0, 128.0],
                       'std': [64.0, 64.0, 64.0],
                       'bgr_to_rgb': False,
                       'pad_val': 0,
                       'seg_pad_val': 255},
 'backbone': {'type': 'VGG16', 'width': 0.0625, 'norm_cfg': {'type': 'BN'}, 'pretrained': 'trunks/streets.pth'},
 'decode_head': {'type': 'FCN8sHead',
                 'in_channels': [16, 32, 32],
                 'channels': 256,
                 'num_classes': 19,
                 'loss_stride': 4,
                 'loss_decode': {'type': 'CrossEntropyLoss', 'loss_weight': 1.0}},
 'train_cfg': {},
 'test_cfg': {'mode': 'whole'}}

optim_wrapper = {'type': 'OptimWrapper', 'optimizer': {'type': 'AdamW', 'lr': 0.006, 'weight_decay': 0.01, 'fused': True}}

param_scheduler = [{'type': 'OneCycleLR', 'eta_max': 0.006, 'pct_start': 0.25}]

training = {'steps': 150,
 'steps_per_image': 25,
 'max_steps': 2000,
 'batch_size': 4,
 'crop': (128, 256),
 'flip': True,
 'jitter': False,
 'class_weights': True,
 'sampler': 'pixel',
 'repeat': 0,
 'frozen_trunk': True,
 'precision': 'float32'}

cost_model = {
 'hidden': 16,
 'steps': 300,
 'batch_cells': 1024,
 'lr': 0.003,
 'weight_decay': 0.3,
 'sigma_px': 2.0,
 'max_cells': 400000}

harness = {'window': 64,
 'stride': 1,
 'overlap': 'forbid',
 'seed_images': 4,
 'images_per_round': 2,
 'rounds': 4,
 'committee': 8,
 'seeds': (0, 1, 2)}

remark = ('A first look, and a proxy: the trunk is given and frozen, only heads are trained. The standard board trains whole '
 'networks.')

annotator = {'seed': 0, 'missed': 0.0, 'wrong': 0.0, 'small_px': 64, 'jitter_px': 0.0, 'click_noise': 0.0}

seconds_per_click = {'polygon': 3.15, 'intersection': 3.15, 'box': 3.15, 'classes': 3.15}

tuned = {'strategy': 'cereals-g3-entropy[alpha=0.9103]',
 'trials': 12,
 'objective': 'aubc-clicks',
 'clicks': 94334,
 'hours': 0.146,
 'seeds': (100, 101)}
