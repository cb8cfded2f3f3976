"""A run of a thousand tasks whose keys are all green: time from the run's creation to its end, and the CPU the server needs for it."""

import processes
from harness import PIPELINE_HEAD, Row, ended, home, publish, run_seconds, spread


def run(count: int = 1000, times: int = 10) -> None:
    """Run a pipeline of many tasks once cold, then with everything cached."""
    tasks = "".join(f"  t{number}: {{inputs: [salt.txt], run: 'true # {number}'}}\n" for number in range(count))
    took: list[float] = []
    cpu: list[float] = []
    with home() as live:
        cold = run_seconds(ended(live, live.commit("hello", {".setpoint/pipeline.yaml": PIPELINE_HEAD + tasks, "salt.txt": "0"})))
        for number in range(times):
            before = processes.own_cpu_s(processes.server(live))
            report = ended(live, live.commit("hello", {"other.txt": str(number)}))
            cpu.append(processes.own_cpu_s(processes.server(live)) - before)
            took.append(run_seconds(report))
            if any(task["state"] != "reused" for task in report["tasks"]):
                raise SystemExit("a task was not reused")
    each = f"{min(took) / count * 1000:.2f} ms a task at best; the same run cold: {cold:.1f} s"
    rows = [
        Row(f"{count} tasks, all cached", spread(took), each, "< 200 ms"),
        Row("CPU of the server for push, run and the reports asked for", spread(cpu)),
    ]
    publish("cached", "Cached tasks", rows)
