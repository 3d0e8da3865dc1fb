"""Parse time of 100 and 1000 workflow files: this package, dag-factory, and a Python loop that a team would write itself.

Each is measured in a process of its own, after importing what it needs, and the best of several runs counts. The files hold the
same DAGs: five tasks in a chain, each with a prompt.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = 5

WORKFLOW_STEP = """\
  - id: step_{index}
    type: llm
    provider: openai
    model: gpt-4o-mini
    prompt: |
      You are step {index} of workflow {number}. Write two sentences about {{{{ inputs.topic }}}} for {{{{ inputs.audience }}}}.
      What came before: {before}
    temperature: 0.2
    max_tokens: 200
    output: [text_{index}]
"""

DAG_FACTORY_TASK = """\
    - task_id: step_{index}
      operator: airflow.providers.standard.operators.python.PythonOperator
      python_callable: builtins.print
      op_kwargs:
        provider: openai
        model: gpt-4o-mini
        prompt: |
          You are step {index} of workflow {number}. Write two sentences about the topic for the audience.
          What came before: {before}
        temperature: 0.2
        max_tokens: 200
      dependencies: {dependencies}
"""


def write_files(folder: Path, count: int) -> None:
    """Write the same DAGs for each contender."""
    ours, theirs = folder / "ours", folder / "theirs"
    ours.mkdir()
    theirs.mkdir()
    for number in range(count):
        steps = [
            WORKFLOW_STEP.format(
                number=number,
                index=index,
                before=f"{{{{ steps.step_{index - 1}.text_{index - 1} }}}}" if index else "nothing",
            )
            for index in range(STEPS)
        ]
        inputs = "inputs:\n  topic: {type: string, required: true}\n  audience: {type: string, default: engineers}\n"
        header = f"name: workflow-{number:04}\nversion: '1.0'\ndescription: Workflow {number} of the benchmark.\n"
        (ours / f"{number:04}.yaml").write_text(header + inputs + "steps:\n" + "".join(steps))
        tasks = [
            DAG_FACTORY_TASK.format(
                number=number, index=index, before="nothing", dependencies=[f"step_{index - 1}"] if index else []
            )
            for index in range(STEPS)
        ]
        (theirs / f"{number:04}.yaml").write_text(
            f"workflow-{number:04}:\n  description: Workflow {number} of the benchmark.\n  start_date: 2024-01-01\n"
            "  schedule: null\n  tasks:\n" + "".join(tasks)
        )


OURS = """
from dag_factory import load_dags
def parse(folder): return len(load_dags(folder + "/ours"))
"""

LOOP = """
import pathlib, yaml
from airflow.sdk import DAG, Param
from airflow.providers.standard.operators.python import PythonOperator
def parse(folder):
    dags = {}
    for path in sorted(pathlib.Path(folder, "ours").glob("*.yaml")):
        text = path.read_text()
        data = yaml.load(text, Loader=yaml.CSafeLoader)
        params = {name: Param(item.get("default"), type=["null", item["type"]]) for name, item in data["inputs"].items()}
        with DAG(data["name"], description=data["description"], doc_md=text, params=params, schedule=None) as dag:
            last = None
            for step in data["steps"]:
                task = PythonOperator(task_id=step.pop("id"), python_callable=print, op_kwargs=step)
                if last is not None:
                    last >> task
                last = task
        dags[dag.dag_id] = dag
    return len(dags)
"""

DAG_FACTORY = """
from dagfactory import load_yaml_dags
def parse(folder):
    dags = {}
    load_yaml_dags(globals_dict=dags, dags_folder=folder + "/theirs")
    return sum(type(value).__name__ == "DAG" for value in dags.values())
"""

HARNESS = """
import json, sys, time
times = []
for _ in range({runs}):
    started = time.process_time()
    found = parse({folder!r})
    times.append(time.process_time() - started)
assert found == {count}, found
print(json.dumps(min(times)))
"""


def measure(code: str, folder: Path, count: int, runs: int) -> float:
    """Give the CPU seconds of one parse."""
    program = code + HARNESS.format(runs=runs, folder=str(folder), count=count)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if answer.returncode:
        sys.exit(answer.stderr)
    return float(json.loads(answer.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=int, nargs="*", default=[100, 1000])
    for count in parser.parse_args().counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_files(folder, count)
            runs = 5 if count <= 100 else 3
            loop = measure(LOOP, folder, count, runs)
            ours = measure(OURS, folder, count, runs)
            theirs = measure(DAG_FACTORY, folder, count, 1)
        print(
            f"{count} files: this package {ours:.2f} s = {ours / loop:.2f} x the Python loop ({loop:.2f} s); "
            f"dag-factory {theirs:.2f} s = {theirs / loop:.2f} x"
        )


if __name__ == "__main__":
    main()
