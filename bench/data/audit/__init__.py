"""Do training and test share people or pictures? By name, by perceptual hash, by embedding."""

from bench.data.audit.run import Audit, audit
from bench.data.audit.verdict import audit_path, audit_verdict, write_audit

__all__ = ["Audit", "audit", "audit_path", "audit_verdict", "write_audit"]
