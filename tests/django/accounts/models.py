import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


class BaseUser(AbstractUser):
    is_booster = models.BooleanField(default=False)
    is_customer = models.BooleanField(default=False)
    is_admin = models.BooleanField(default=False)


class Tag(models.Model):
    name = models.CharField(max_length=30, unique=True)


class BaseOrder(models.Model):
    name = models.CharField(max_length=30)
    details = models.CharField(max_length=300, blank=True)
    price = models.FloatField(default=0, null=True)
    actual_price = models.FloatField(default=0, null=True)
    status = models.CharField(max_length=100, default="New", null=True)
    is_done = models.BooleanField(default=False)
    message = models.CharField(max_length=300, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    customer = models.ForeignKey(BaseUser, models.CASCADE, null=True, related_name="bought")
    booster = models.ForeignKey(BaseUser, models.SET_NULL, null=True, related_name="boosted")
    tags = models.ManyToManyField(Tag)


class Transaction(models.Model):
    user = models.ForeignKey(BaseUser, models.CASCADE)
    order = models.ForeignKey(BaseOrder, models.CASCADE, null=True, related_name="transactions")
    amount = models.FloatField(default=0)
    notice = models.TextField(blank=True)
    type = models.CharField(max_length=20)
    date = models.DateTimeField(auto_now_add=True)


class Receipt(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    order = models.ForeignKey(BaseOrder, models.CASCADE)
    total = models.DecimalField(max_digits=12, decimal_places=2)
    lines = models.JSONField(default=dict)
