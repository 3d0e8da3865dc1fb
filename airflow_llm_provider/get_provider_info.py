"""What this package tells Airflow about itself; the keys are those of Airflow's ``provider_info.schema.json``."""

from __future__ import annotations

from typing import Any

__all__ = ["get_provider_info"]

_HEADERS = {
    "label": "Request headers",
    "schema": {"type": ["object", "null"]},
    "description": "Further headers of every request, as a JSON object; for gateways.",
}

_OPTIONS = {
    "label": "Options",
    "schema": {"type": ["object", "null"]},
    "description": "What only one provider reads, as a JSON object: test_model (for the Test button), api_version (Azure), region.",
}


def get_provider_info() -> dict[str, Any]:
    """Give the provider's metadata."""
    return {
        "package-name": "airflow-llm-provider",
        "name": "LLM workflows",
        "description": "LLM workflows as YAML: LLM-Orchestrator's notations, operators, hooks and a DAG factory.",
        "integrations": [
            {
                "integration-name": "LLM workflows",
                "tags": ["ai"],
            }
        ],
        "operators": [
            {
                "integration-name": "LLM workflows",
                "python-modules": ["airflow_llm_provider.operators.step", "airflow_llm_provider.operators.executors"],
            }
        ],
        "sensors": [
            {"integration-name": "LLM workflows", "python-modules": ["airflow_llm_provider.sensors.llm"]},
        ],
        "task-decorators": [{"name": "llm", "class-name": "airflow_llm_provider.decorators.llm.llm_task"}],
        "hooks": [
            {
                "integration-name": "LLM workflows",
                "python-modules": ["airflow_llm_provider.hooks.llm", "airflow_llm_provider.hooks.stores"],
            }
        ],
        "connection-types": [
            _connection_type("llm_openai", "OpenAIHook", "LLM: OpenAI-compatible", "https://api.openai.com/v1"),
            _connection_type("llm_anthropic", "AnthropicHook", "LLM: Anthropic", "https://api.anthropic.com"),
            _connection_type("llm_azure", "AzureHook", "LLM: Azure OpenAI", "https://my-resource.openai.azure.com"),
            _bedrock(),
            _connection_type("llm_cohere", "CohereHook", "LLM: Cohere", "https://api.cohere.com"),
            _connection_type("llm_forge", "LLMForgeHook", "LLM: LLM-Forge", "http://llm-forge:8080"),
            _connection_type(
                "llm_qdrant", "QdrantHook", "Vectors: Qdrant", "https://my-cluster.cloud.qdrant.io:6333", "stores"
            ),
            _connection_type("llm_pinecone", "PineconeHook", "Vectors: Pinecone", "https://api.pinecone.io", "stores"),
            _connection_type(
                "llm_weaviate", "WeaviateHook", "Vectors: Weaviate", "https://my-cluster.weaviate.cloud", "stores"
            ),
        ],
        "plugins": [{"name": "airflow_llm_provider", "plugin-class": "airflow_llm_provider.plugin.LLMProviderPlugin"}],
        "config": {
            "llm_provider": {
                "description": "Settings of LLM workflows.",
                "options": {
                    "config_file": {
                        "description": (
                            "Path of the orchestrator.yaml that holds retry defaults, time limits and API keys. "
                            "Without it the variable ORCHESTRATOR_CONFIG is used, and without that the defaults."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/etc/llm-orchestrator/orchestrator.yaml",
                        "default": "",
                    },
                },
            }
        },
    }


def _bedrock() -> dict[str, Any]:
    """Give the connection type of AWS Bedrock, which has a key of two parts and a region."""
    texts = {
        "region_name": ("Region", "eu-central-1; what boto3 finds by itself when empty."),
        "profile_name": ("Profile", "A profile of boto3's configuration files."),
        "endpoint_url": ("Endpoint", "Root of the API, for an endpoint inside of a VPC."),
    }
    fields = {
        name: {"label": label, "schema": {"type": ["string", "null"]}, "description": description}
        for name, (label, description) in texts.items()
    }
    token = {"label": "Session token", "schema": {"type": ["string", "null"], "format": "password"}}
    return {
        "connection-type": "llm_bedrock",
        "hook-class-name": "airflow_llm_provider.hooks.llm.BedrockHook",
        "hook-name": "LLM: AWS Bedrock",
        "ui-field-behaviour": {
            "hidden-fields": ["host", "schema", "port"],
            "relabeling": {"login": "Access key id", "password": "Secret access key"},
            "placeholders": {"login": "AKIA…"},
        },
        "conn-fields": {**fields, "aws_session_token": token, "options": _OPTIONS},
    }


def _connection_type(connection_type: str, hook: str, name: str, host: str, module: str = "llm") -> dict[str, Any]:
    return {
        "connection-type": connection_type,
        "hook-class-name": f"airflow_llm_provider.hooks.{module}.{hook}",
        "hook-name": name,
        "ui-field-behaviour": {
            "hidden-fields": ["login", "schema", "port"],
            "relabeling": {"password": "API key", "host": "Base URL"},
            "placeholders": {"host": host, "password": "sk-…"},
        },
        "conn-fields": {"headers": _HEADERS, "options": _OPTIONS},
    }
