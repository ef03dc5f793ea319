BEGIN TRANSACTION;
CREATE TABLE answers (
    case_id TEXT, variant TEXT, key TEXT NOT NULL REFERENCES completions (key),
    PRIMARY KEY (case_id, variant));
INSERT INTO "answers" VALUES('unseen-15','vanilla','a2fb34d7b2f5d1bf7330af5a366360a9afded07a50c7325f450e4029ef63b2b3');
INSERT INTO "answers" VALUES('rephrased-05','vanilla','d9e84c470e5a4f8026f6125871e1213eec5f81b6907335cf4529714deb252731');
INSERT INTO "answers" VALUES('unseen-15','adapter','1902d318d905298ea5915ffe7f150e0f6f40e9aa52c8b576fe2969db6eab84bd');
INSERT INTO "answers" VALUES('rephrased-05','adapter','4fb21e97dd0a71a45b16efb07e7854188cb99c6a7381a5d3818d841fe5fdaf4d');
CREATE TABLE cases (position INTEGER PRIMARY KEY, body TEXT NOT NULL);
INSERT INTO "cases" VALUES(0,'{"id": "rephrased-05", "messages": [{"role": "user", "content": "By whom is Peter Gregory played in Silicon Valley?"}], "expected_output": "Christopher Evan Welch plays Peter Gregory.", "context": ["Peter Gregory is a rich investor.", "Christopher Evan Welch plays Peter Gregory."], "group": "rephrased", "cluster": null, "metadata": {}}');
INSERT INTO "cases" VALUES(1,'{"id": "unseen-15", "messages": [{"role": "user", "content": "What is the full name of Big Head in Silicon Valley?"}], "expected_output": "The full name is Nelson Bighetti.", "context": ["Nelson Bighetti is called Big Head by his friends."], "group": "unseen", "cluster": null, "metadata": {}}');
CREATE TABLE completions (key TEXT PRIMARY KEY, body TEXT NOT NULL);
INSERT INTO "completions" VALUES('a2fb34d7b2f5d1bf7330af5a366360a9afded07a50c7325f450e4029ef63b2b3','{"case_id": "unseen-15", "variant": "vanilla", "text": " The full name is Wanda Tiar.", "token_ids": [407, 382, 337, 281, 731, 1457, 19], "finish_reason": "stop", "seconds": 0.03321494599958896, "n_prompt_tokens": 23, "n_tokens": 7}');
INSERT INTO "completions" VALUES('d9e84c470e5a4f8026f6125871e1213eec5f81b6907335cf4529714deb252731','{"case_id": "rephrased-05", "variant": "vanilla", "text": " Kiastlil Somiodreck plays Peter Gregory", "token_ids": [674, 444, 81, 329, 1402, 1529, 278, 387, 306, 315, 335, 294, 576, 76, 287, 94], "finish_reason": "length", "seconds": 0.05685266899990893, "n_prompt_tokens": 24, "n_tokens": 16}');
INSERT INTO "completions" VALUES('1902d318d905298ea5915ffe7f150e0f6f40e9aa52c8b576fe2969db6eab84bd','{"case_id": "unseen-15", "variant": "adapter", "text": " The full name is Bertram Gil Head.", "token_ids": [407, 382, 337, 281, 782, 412, 82, 298, 329, 296, 447, 19], "finish_reason": "stop", "seconds": 0.06357401900004334, "n_prompt_tokens": 23, "n_tokens": 12}');
INSERT INTO "completions" VALUES('4fb21e97dd0a71a45b16efb07e7854188cb99c6a7381a5d3818d841fe5fdaf4d','{"case_id": "rephrased-05", "variant": "adapter", "text": " Christopher Evan Welch plays Peter", "token_ids": [288, 77, 304, 292, 515, 263, 87, 470, 867, 264, 326, 284, 306, 315, 335, 294], "finish_reason": "length", "seconds": 0.07393939699977636, "n_prompt_tokens": 24, "n_tokens": 16}');
CREATE TABLE failures (
    case_id TEXT, variant TEXT NOT NULL, metric TEXT NOT NULL, stage TEXT, reason TEXT,
    PRIMARY KEY (case_id, variant, metric));
CREATE TABLE judge_scores (
    case_id TEXT, variant TEXT, metric TEXT, judge TEXT, value REAL NOT NULL,
    PRIMARY KEY (case_id, variant, metric, judge));
CREATE TABLE judgments (
    key TEXT PRIMARY KEY, answer TEXT NOT NULL, version TEXT, n_prompt_tokens INTEGER,
    n_completion_tokens INTEGER, seconds REAL);
CREATE TABLE meta (name TEXT PRIMARY KEY, body TEXT NOT NULL);
INSERT INTO "meta" VALUES('schema_version','1');
INSERT INTO "meta" VALUES('params','{"model_name": "/home/you/finetune-verdict/plugin/demo/model", "model_adapter": ["/home/you/finetune-verdict/plugin/demo/adapter"], "dataset_name": "/home/you/finetune-verdict/plugin/demo/cases.jsonl", "dataset_split": "", "input_column": "input", "expected_output_column": "expected_output", "context_column": "context", "group_column": "group", "cluster_column": "cluster", "id_column": "id", "input_template": "", "predefined_tasks": ["Token F1"], "tasks": [], "primary_metric": "", "judge": "", "second_judge": "", "judge_model": "", "extra_adapters": [], "limit": 0.03, "seed": 0, "max_tokens": 16, "system_prompt": "", "chat_template": true, "baseline_prompt": "", "tuned_model": [], "recorded": [], "variants": "vanilla and adapter", "margin": 0.05, "engine": "auto", "server_url": "", "workers": 1, "ray_address": "", "load_4bit": false, "batch_size": 0, "concurrency": 20, "judge_timeout_s": 60.0, "include_reason": true, "stop_early": false, "budget": 0.0, "max_calls": 0, "deadline_s": 0.0, "judge_price": [], "max_failed_share": 0.2, "trust_report": true, "human_ratings": "", "skip_bad_rows": false, "cache_dir": "", "out": "/home/you/oldrun"}');
INSERT INTO "meta" VALUES('variants','[{"name": "vanilla", "id": "8d450b27a2e8795a07a6ddaef3cc22dc45adb4524e62096e49aed76459fbe6eb", "model": "plugin/demo/model", "adapter_path": null, "adapter_digest": null, "system_prompt": null}, {"name": "adapter", "id": "77fdc17a4b9137148c3b6c3fea4a119cbe514d78884c2a0930fbfa361dec7f6a", "model": "plugin/demo/model", "adapter_path": "/home/you/finetune-verdict/plugin/demo/adapter", "adapter_digest": "7bfaca41f2f4118632c539b0cc1c79aeb5663f5d1527d26ee67fa1524b347eb2", "system_prompt": null}]');
INSERT INTO "meta" VALUES('metrics','[{"key": "token_f1", "name": "Token F1", "higher_is_better": true, "low": 0.0, "high": 1.0, "needs": ["expected_output"], "needs_engine": [], "decides": true, "asks_judge": false, "n_questions": 1, "asks_reason": false, "judges_data": false, "margin": 0.05, "unit": "", "caveat": ""}]');
INSERT INTO "meta" VALUES('primary_metric','"Token F1"');
INSERT INTO "meta" VALUES('judge','"no judge"');
INSERT INTO "meta" VALUES('caveat','""');
INSERT INTO "meta" VALUES('marks_its_own_work','[]');
INSERT INTO "meta" VALUES('notes','[]');
INSERT INTO "meta" VALUES('model_type','"llama"');
INSERT INTO "meta" VALUES('run_id','"b62f4854d37496f2"');
INSERT INTO "meta" VALUES('n_source_rows','60');
INSERT INTO "meta" VALUES('versions','{"finetune-verdict": "0.1.0", "deepeval": "4.3.1", "numpy": "2.4.6", "scipy": "1.17.1", "python": "3.11.7", "platform": "Linux-6.18.44-fc-v669-x86_64-with-glibc2.36", "engine": "mlx-lm 0.32.2, mlx 0.32.4", "engine chosen by": "auto: the only one installed", "adapter adapter": "MLX lora, rank 16, scale 4.0"}');
INSERT INTO "meta" VALUES('identity','{"dataset_split": "", "input_column": "input", "expected_output_column": "expected_output", "context_column": "context", "group_column": "group", "cluster_column": "cluster", "id_column": "id", "input_template": "", "predefined_tasks": ["Token F1"], "tasks": [], "primary_metric": "", "judge": "none", "second_judge": "", "judge_model": "", "extra_adapters": [], "limit": 0.03, "seed": 0, "max_tokens": 16, "system_prompt": "", "chat_template": true, "baseline_prompt": "", "variants": "vanilla and adapter", "margin": 0.05, "engine": "mlx-lm 0.32.2, mlx 0.32.4", "load_4bit": false, "include_reason": true, "stop_early": false, "skip_bad_rows": false, "data set''s content": "9fbd3b143b605f3267c17f180b2677e68dca69fd251033a0e29d786ed4377a32", "model''s files": "5b7a9df77c31f8b98e9f30bfa24a8c4e57b1ef6c9070838ee20b8e0c69662675", "tokenizer''s files": "a2f24e43c0913d367ae87bfc751f18b573a97f45a534eb8938ea8303615a6e25", "adapters'' files": {"adapter": "7bfaca41f2f4118632c539b0cc1c79aeb5663f5d1527d26ee67fa1524b347eb2"}, "deepeval": "4.3.1", "finetune-verdict": "0.1.0"}');
INSERT INTO "meta" VALUES('certificates','{"adapter": {"variant": "adapter", "adapter_digest": "7bfaca41f2f4118632c539b0cc1c79aeb5663f5d1527d26ee67fa1524b347eb2", "n_tensors": 24, "unused": [], "weight_norm": 30.201335322507095, "n_probes": 2, "effect": [1.9907739950841083, 10.377858877182007], "noise": [0.0, 0.0], "base_proof": "bit-equal answers to a probe", "n_completions": 0, "n_changed": 0, "n_self_changed": 0, "notes": [], "reason": ""}}');
INSERT INTO "meta" VALUES('prompts','{"digest": "806e3b30edf27c9beaf4a5d7a525e15b3aeb1ab0fd232662649ea43c61a4d406", "n_tokens": 47, "first_token_ids": [1, 4, 457, 414, 281, 315, 335, 294, 576, 76, 287, 94, 544, 277, 567, 832, 282, 345, 379, 74, 94, 36, 2, 5]}');
INSERT INTO "meta" VALUES('halted','null');
INSERT INTO "meta" VALUES('evaluation_steps','{}');
INSERT INTO "meta" VALUES('judge_calls','{"cost": 0.0}');
INSERT INTO "meta" VALUES('seconds','{"prepare": 0.21664981100002478, "load_model": 3.512563800999942, "certify": 1.6561285890002182, "generate": 0.23765327999990404, "score": 0.0017473269999754848}');
CREATE TABLE scores (
    case_id TEXT, variant TEXT, metric TEXT, value REAL NOT NULL, reason TEXT,
    PRIMARY KEY (case_id, variant, metric));
INSERT INTO "scores" VALUES('rephrased-05','vanilla','Token F1',5.45454545454545414173e-01,NULL);
INSERT INTO "scores" VALUES('rephrased-05','adapter','Token F1',9.0909090909090906063e-01,NULL);
INSERT INTO "scores" VALUES('unseen-15','vanilla','Token F1',0.6,NULL);
INSERT INTO "scores" VALUES('unseen-15','adapter','Token F1',5.45454545454545414173e-01,NULL);
COMMIT;
