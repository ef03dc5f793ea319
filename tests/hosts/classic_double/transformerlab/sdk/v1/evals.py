"""The SDK object that evaluator plugins get."""

import argparse
import functools
import json
import os
import threading
from pathlib import Path

_OWN = ("job_id", "dataset_name", "model_name", "run_name", "template_name")
_OWN += ("experiment_name", "eval_name")


class Params(dict):
    __getattr__ = dict.get
    __setattr__ = dict.__setitem__


class Evals:
    def __init__(self):
        self.params = Params()
        self._file = Path(os.environ["DOUBLE_JOB"])
        self._thread = threading.get_ident()

    def _parse(self):
        parser = argparse.ArgumentParser()
        for name in _OWN:
            parser.add_argument(f"--{name}", default="")
        known, rest = parser.parse_known_args()
        self.params.update(vars(known))
        key = None
        for word in rest:
            if word.startswith("--"):
                key = word.lstrip("-")
                self.params[key] = True
                setattr(self, key, True)
            elif key:
                self.params[key] = word
                key = None

    def _job(self):
        return json.loads(self._file.read_text())

    def add_job_data(self, key, value):
        assert threading.get_ident() == self._thread, "job writes are unlocked: one thread only"
        job = self._job()
        job["job_data"][key] = value
        self._file.write_text(json.dumps(job))

    def progress_update(self, progress):
        assert threading.get_ident() == self._thread
        job = self._job()
        job["progress"] = progress
        job.setdefault("updates", []).append(progress)
        if (self._file.parent / "stop").exists():  # a flag in the host's database
            job["status"] = "STOPPED"
            self._file.write_text(json.dumps(job))
            raise KeyboardInterrupt("Job stopped by user")
        self._file.write_text(json.dumps(job))

    def log_metric(self, metric_name, value, step=1):
        job = self._job()
        job.setdefault("tensorboard", {})[metric_name] = value
        self._file.write_text(json.dumps(job))

    def save_evaluation_results(self, metrics_df):
        missing = {"test_case_id", "metric_name", "score"} - set(metrics_df.columns)
        if missing:
            raise ValueError(f"Missing required columns in metrics DataFrame: {missing}")
        output = self._file.parent / "output.csv"
        if os.environ.get("DOUBLE_EXPERIMENT"):  # the host's own places
            job = self.params.job_id
            folder = Path(os.environ["DOUBLE_EXPERIMENT"]) / "evals" / "evaluation" / job
            folder.mkdir(parents=True, exist_ok=True)
            output = folder / f"output_{job}.csv"
        metrics_df.to_csv(output, index=False)
        model = Path(self.params.model_name)
        if model.is_dir():  # the host keeps a diary in a local model's own folder
            (model / "_tlab_provenance.json").write_text(json.dumps({"job": self.params.job_id}))
        plot = self._file.parent / "plot.json"
        metrics_df[["test_case_id", "metric_name", "score"]].to_json(plot, orient="records")
        self.add_job_data("additional_output_path", str(output))
        self.add_job_data("plot_data_path", str(plot))
        means = metrics_df.groupby("metric_name")["score"].mean()
        self.add_job_data("score", json.dumps([{"type": t, "score": s} for t, s in means.items()]))
        return str(output), str(plot)

    def job_wrapper(self):
        def decorator(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                self._parse()
                self.add_job_data("template_name", self.params.template_name)
                self.progress_update(0)
                try:
                    result = function(*args, **kwargs)
                    self.progress_update(100)
                    self.add_job_data("completion_status", "success")
                    self.add_job_data("completion_details", "Job completed successfully")
                    return result
                except Exception:
                    self.add_job_data("completion_status", "failed")
                    self.add_job_data("completion_details", "Error occurred while executing job")
                    raise

            return wrapper

        return decorator


tlab_evals = Evals()
