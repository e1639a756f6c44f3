"""The verifier scores the live release under proposed evaluators, on the hidden data."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('governance', '0009_passkeys'),
        ('loop', '0006_campaign_requests'),
    ]

    operations = [
        migrations.CreateModel(
            name='EvaluatorCheck',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('rescored', models.JSONField()),
                ('done', models.BooleanField(default=False)),
                ('fence', models.PositiveIntegerField(default=0)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('holder', models.CharField(blank=True, max_length=200)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('proposal', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='evaluator_check', to='governance.proposal')),
            ],
        ),
    ]
