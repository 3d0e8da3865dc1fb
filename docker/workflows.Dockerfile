# Workflow files as one more layer; the loaders are in the image already.
#
#   docker build --file docker/workflows.Dockerfile --tag workflows:1 dags
ARG IMAGE=llm-orchestrator:0.1.0
# hadolint ignore=DL3006
FROM ${IMAGE}
COPY workflows /opt/airflow/dags/workflows
