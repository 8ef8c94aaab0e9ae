"""Checks of synthesized templates, which need neither CDK nor AWS."""
