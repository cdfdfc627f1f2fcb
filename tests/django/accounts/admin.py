from django.contrib import admin

from .models import BaseOrder


@admin.register(BaseOrder)
class OrderAdmin(admin.ModelAdmin):
    fields = ["name", "status", "message"]
